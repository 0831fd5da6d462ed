"""Small real networks and problems with closed-form answers, shared by the laws of the models."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from models.edm.denoiser import Denoised
from models.edm.features import AtomFeatures
from models.edm.model import EDM
from models.edm.process import Process, VarianceExploding
from models.egnn.config import EGNNConfig
from models.egnn.network import EGNN
from models.egnn.pairs import Pairs
from models.enf.model import ENF

with warnings.catch_warnings():  # torch-geometric still calls torch.jit.script, which torch calls deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    import torch._decomp.decompositions_for_jvp
    import torch_geometric.loader  # noqa: F401

VARIANTS = {
    "lean": {},
    "lean-directed": {"symmetric": False},
    "lean-sublayers": {"sublayers": 2},
    "lean-no-gate": {"attention": False, "coordinate_hidden": 1},
    "lean-features": {"coordinates_from": "features", "coordinate_hidden": 1},
    "messages-hidden": {"symmetric": False, "coordinate_hidden": 1, "coordinate_range": 2.5, "radial": 0},
    "published": None,
    "published-sublayers": None,
    "published-enf": None,
    "published-dequantizer": None,
}


def network_config(variant: str, channels: int = 5) -> EGNNConfig:
    """A small network of a variant."""
    if variant == "published":
        return EGNNConfig.published_edm(channels, width=16, layers=3)
    if variant == "published-enf":
        return EGNNConfig.published_enf(channels, channels, width=16, layers=3)
    if variant == "published-dequantizer":
        return EGNNConfig.published_enf(
            channels, channels, width=16, layers=3, attention=False, bounded=False, input_distance=False
        )
    if variant == "published-sublayers":
        published = EGNNConfig.published_edm(channels, width=16, layers=2)
        return EGNNConfig(**{**published.to_dict(), "sublayers": 2})
    small = {
        "inputs": channels,
        "outputs": channels,
        "width": 16,
        "message_width": 8,
        "layers": 3,
        "radial": 6,
    }
    return EGNNConfig(**{**small, **VARIANTS[variant]})


@torch.no_grad()
def lively(network: EGNN, seed: int = 0) -> EGNN:
    """Coordinate weights of such a size that points move by about their own spread.

    A fresh network hardly moves its points, which would hide a broken symmetry.
    """
    source = torch.Generator().manual_seed(seed)
    network = network.double()
    h = torch.randn(2, 6, network.config.inputs, generator=source, dtype=torch.float64)
    x = 1.5 * torch.randn(2, 6, 3, generator=source, dtype=torch.float64)
    last = [p for name, p in network.named_parameters() if "displacement.last" in name]
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=source, dtype=parameter.dtype))
    for _ in range(4):
        move = float((network(h, x)[1] - x).norm() / x.norm())
        for weight in last:
            weight.mul_(min(max(0.4 / move, 0.1), 20.0))
    return network


@functools.cache
def built(variant: str) -> EGNN:
    """The lively float64 network of a variant; copied before use."""
    torch.manual_seed(1)
    return lively(EGNN(network_config(variant)))


@pytest.fixture(params=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def network(variant: str) -> EGNN:
    """A lively float64 network of each variant."""
    return copy.deepcopy(built(variant))


@pytest.fixture
def make_network() -> Callable[[str], EGNN]:
    return lambda variant: copy.deepcopy(built(variant))


def small_edm(parametrization: str = "data", **changes: object) -> EDM:
    """A small EDM on hydrogen, carbon, nitrogen and oxygen."""
    config = {
        "elements": [1, 6, 7, 8],
        "coordinate_scale": 1.5,
        "sizes": {"3": 10, "4": 20, "6": 5, "9": 15},
        "process": {"kind": "variance-exploding", "minimum": 0.01, "maximum": 10.0},
        "network": {"width": 16, "message_width": 8, "layers": 2, "radial": 6},
    }
    if parametrization == "noise":
        config |= {
            "parametrization": "noise",
            "coordinate_scale": 1.0,
            "charge_scale": 0.1,
            "process": {"kind": "polynomial", "steps": 50},
            "network": {
                "width": 16, "message_width": 16, "layers": 2, "coordinates_from": "features",
                "coordinate_hidden": 1, "coordinate_range": 15.0, "divisor": 1.0, "normalize": False,
                "symmetric": False, "radial": 0,
            },
        }  # fmt: skip
    torch.manual_seed(3)
    model = EDM({**config, **changes})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "displacement.last" in name:
                parameter.mul_(30 if parametrization == "data" else 0.3)
    return model


@pytest.fixture
def make_edm() -> Callable[..., EDM]:
    return small_edm


def small_enf(kind: str = "molecule", **changes: object) -> ENF:
    """A small E-NF on hydrogen, carbon, nitrogen and oxygen in float64, whose flow is not trivial."""
    config: dict[str, object] = {
        "kind": kind,
        "elements": [1, 6, 7, 8],
        "sizes": {"2": 4, "3": 10, "4": 20, "5": 5},
        "coordinate_scale": 1.5,
        "type_scale": 0.5,
        "type_spread": 0.2,
        "network": {"width": 16, "message_width": 8, "layers": 2, "radial": 6},
    }
    if kind == "published":
        both = EGNNConfig.published_enf(1, 1, width=12, layers=2).to_dict()
        own = {name: value for name, value in both.items() if name not in ("inputs", "outputs")}
        bare = {"attention": False, "coordinate_range": None, "input_distance": False}
        config |= {"charges": True, "network": own, "dequantizer": own | bare}
    torch.manual_seed(5)
    model = ENF({**config, **changes}).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "displacement.last" in name:
                parameter.mul_(30 if kind == "molecule" else 100)
        if kind == "molecule":  # untrained, the highest frequencies of time are as loud as the lowest
            model.field.time.frequencies.clamp_(max=3.0)
        if kind == "published":
            model.actnorm.h_t.copy_(torch.linspace(-1, 1, 5))
            model.actnorm.h_log_s.copy_(torch.linspace(0.5, 1.5, 5))
    return model.requires_grad_(False).eval()


@pytest.fixture
def make_enf() -> Callable[..., ENF]:
    return small_enf


@pytest.fixture(params=["molecule", "published"])
def enf(request: pytest.FixtureRequest) -> ENF:
    return small_enf(request.param)


@pytest.fixture(params=["data", "noise"])
def edm(request: pytest.FixtureRequest) -> EDM:
    return small_edm(request.param)


class GaussianDenoiser(nn.Module):
    """The optimal denoiser of Gaussian positions N(0, spread^2) and independent elements of known frequencies."""

    def __init__(
        self,
        spread: float = 1.0,
        frequencies: tuple[float, ...] = (1.0,),
        process: Process | None = None,
        coordinate_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.spread, self.frequencies = spread, frequencies
        self.features = AtomFeatures(tuple(range(1, len(frequencies) + 1)), coordinate_scale=coordinate_scale)
        self.process = process or VarianceExploding(0.01, 20.0)
        self.device, self.dtype = torch.device("cpu"), torch.float64
        self.calls = 0

    def shrink(self, level: float | Tensor) -> float | Tensor:
        """E[x | z] / z at a noise level."""
        return self.spread**2 / (self.spread**2 + level**2)

    def forward(self, x: Tensor, h: Tensor, level: Tensor, pairs: Pairs | None = None) -> Denoised:
        self.calls += 1
        s = level[:, None, None]
        logits = torch.tensor(self.frequencies, dtype=h.dtype).log() + h * (self.features.type_scale / s**2)
        return Denoised(x * self.shrink(s), logits.softmax(-1) * self.features.type_scale, logits)


@pytest.fixture
def gaussian() -> Callable[..., GaussianDenoiser]:
    return GaussianDenoiser


def random_rotation(source: torch.Generator, *, reflect: bool = False) -> Tensor:
    """A random orthogonal 3 x 3 matrix of determinant 1, or -1."""
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=source, dtype=torch.float64))
    q = q * r.diagonal().sign()
    if (torch.linalg.det(q) < 0) != reflect:
        q = q.clone()
        q[:, 0] *= -1
    return q


@pytest.fixture
def rotation() -> Callable[..., Tensor]:
    return random_rotation


@pytest.fixture
def source() -> torch.Generator:
    return torch.Generator().manual_seed(20)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small problems run faster on one thread, and sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
