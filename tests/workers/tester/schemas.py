"""Requests of the test family."""

from workers.schemas.base import InputRequest, JobRequest


class TestRequest(JobRequest):
    """Make numbers slowly, and fail as told. Faults name item indices."""

    __test__ = False

    n_molecules: int = 8
    steps: int = 5
    step_seconds: float = 0.0
    journal: str = ""  # a file that gets a line per start and end of a shard
    once: str = ""  # a file: faults happen only while it does not exist
    kill_at: int | None = None  # kill this process when the item comes up
    raise_at: int | None = None
    hang_at: int | None = None
    memory_for: int | None = None  # MemoryError for batches larger than this
    fail_every: int = 0  # every so many items is invalid
    until_valid: bool = False
    max_attempts: int = 1000

    def item_count(self) -> int:
        return self.n_molecules

    def evaluations_per_item(self) -> int:
        return self.steps

    @property
    def accept_limit(self) -> int | None:
        return self.n_molecules

    @property
    def candidate_limit(self) -> int | None:
        return self.max_attempts if self.until_valid else None


class TestInputRequest(InputRequest):
    """Read records and count their bytes."""

    __test__ = False


CAPABILITIES = {"sample": TestRequest, "read": TestInputRequest}
