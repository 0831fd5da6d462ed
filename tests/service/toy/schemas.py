"""The requests of the real diffusion models, so that what is tested is what users send."""

from workers.schemas.edm import SampleRequest, ScoreRequest


class ToySampleRequest(SampleRequest):
    """Draw well-known molecules."""

    step_seconds: float = 0.0  # how slow the network pretends to be


CAPABILITIES = {"sample": ToySampleRequest, "score": ScoreRequest}
