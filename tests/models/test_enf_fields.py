"""The symmetries of every vector field that flows are made of, and the closed forms that they hold."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import jacfwd, jvp

from models.core.centered import remove_mean
from models.core.divergence import centered_directions
from models.core.errors import ConfigError
from models.edm.flow import flow_velocity
from models.edm.model import EDM
from models.egnn.config import EGNNConfig
from models.enf.field import PreconditionedField, VectorField
from models.enf.molecules import MoleculeField
from models.enf.trace import exact_trace
from tests.models.conftest import small_edm

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
CHANNELS = 4


def lively(field: VectorField) -> VectorField:
    """Displacements large enough for a broken symmetry to show."""
    with torch.no_grad():
        for name, parameter in field.named_parameters():
            if "displacement.last" in name:
                parameter.mul_(100)
    return field.double().requires_grad_(False)


@functools.cache
def edm() -> EDM:
    """A small EDM."""
    return small_edm().double().requires_grad_(False)


def edm_field(t: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The probability flow of a small EDM as a field; its time is a noise level."""
    velocity = flow_velocity(edm().denoiser, 0.3 + float(t[0]))
    out = velocity(torch.cat([x, h], -1))
    return out[..., : x.shape[-1]], out[..., x.shape[-1] :]


def lean(inputs: int) -> EGNNConfig:
    return EGNNConfig(inputs=inputs, outputs=CHANNELS + 1, width=16, message_width=8, layers=2, radial=6)


FIELDS: dict[str, tuple[int, Callable[[], Callable[..., tuple[Tensor, Tensor]]]]] = {
    "published-2d": (2, lambda: lively(VectorField(EGNNConfig.published_enf(5, 5, width=12, layers=3), CHANNELS))),
    "published-3d": (3, lambda: lively(VectorField(EGNNConfig.published_enf(5, 5, width=12, layers=3), CHANNELS))),
    "preconditioned-2d": (2, lambda: lively(PreconditionedField(lean(CHANNELS + 32), CHANNELS))),
    "preconditioned-3d": (3, lambda: lively(PreconditionedField(lean(CHANNELS + 32), CHANNELS))),
    "molecule": (
        3,
        lambda: lively(MoleculeField(lean(CHANNELS + 32), CHANNELS, scale=0.3, spread=0.05, position_scale=1.5)),
    ),
    "edm-flow": (3, lambda: edm_field),
}  # fmt: skip


@pytest.fixture(params=list(FIELDS))
def case(
    request: pytest.FixtureRequest,
) -> tuple[Callable[..., tuple[Tensor, Tensor]], Tensor, Tensor, Tensor]:
    """A field, times, centered positions and features of three sets of six points."""
    dimensions, make = FIELDS[request.param]
    torch.manual_seed(2)
    source = torch.Generator().manual_seed(3)
    x = remove_mean(1.3 * torch.randn(3, 6, dimensions, generator=source, dtype=torch.float64))
    h = torch.randn(3, 6, CHANNELS, generator=source, dtype=torch.float64)
    t = torch.full((3,), 0.4, dtype=torch.float64)
    return make(), t, x, h


def orthogonal(dimensions: int, reflect: bool) -> Tensor:
    source = torch.Generator().manual_seed(8)
    q = torch.linalg.qr(torch.randn(dimensions, dimensions, generator=source, dtype=torch.float64))[0]
    q[:, 0] *= torch.sign(torch.linalg.det(q)) * (-1 if reflect else 1)
    return q


@pytest.mark.parametrize("reflect", [False, True], ids=["rotation", "reflection"])
def test_turning_the_points_turns_their_velocities(case, reflect: bool) -> None:  # type: ignore[no-untyped-def]
    field, t, x, h = case
    turn = orthogonal(x.shape[-1], reflect)
    dx, dh = field(t, x, h)
    turned_x, turned_h = field(t, x @ turn.T, h)
    torch.testing.assert_close(turned_x, dx @ turn.T, **CLOSE)
    torch.testing.assert_close(turned_h, dh, **CLOSE)
    assert float(dx.norm()) > 0.1


def test_relabeling_the_points_relabels_their_velocities(case) -> None:  # type: ignore[no-untyped-def]
    field, t, x, h = case
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    dx, dh = field(t, x, h)
    new_x, new_h = field(t, x[:, order], h[:, order])
    torch.testing.assert_close(new_x, dx[:, order], **CLOSE)
    torch.testing.assert_close(new_h, dh[:, order], **CLOSE)


def test_moving_all_points_changes_no_velocity(case, request: pytest.FixtureRequest) -> None:  # type: ignore[no-untyped-def]
    if "edm-flow" in request.node.name:
        pytest.skip("the probability flow is defined on centered positions only")
    field, t, x, h = case
    dx, dh = field(t, x, h)
    moved_x, moved_h = field(t, x + 2.5, h)
    torch.testing.assert_close(moved_x, dx, **CLOSE)
    torch.testing.assert_close(moved_h, dh, **CLOSE)


def test_centered_points_stay_centered(case) -> None:  # type: ignore[no-untyped-def]
    field, t, x, h = case
    dx, _ = field(t, x, h)
    torch.testing.assert_close(dx.mean(1), torch.zeros_like(dx[:, 0]), **CLOSE)


def test_each_set_of_points_has_a_time_of_its_own(case, request: pytest.FixtureRequest) -> None:  # type: ignore[no-untyped-def]
    if "edm-flow" in request.node.name:
        pytest.skip("that field is at one noise level")
    field, _, x, h = case
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    dx, dh = field(t, x, h)
    for k in range(3):
        alone_x, alone_h = field(t[k : k + 1], x[k : k + 1], h[k : k + 1])
        torch.testing.assert_close(dx[k : k + 1], alone_x, **CLOSE)
        torch.testing.assert_close(dh[k : k + 1], alone_h, **CLOSE)


@pytest.mark.parametrize("time", [0.05, 0.3, 0.9])
def test_the_elements_velocity_is_the_mean_velocity_of_all_paths_through_a_point(time: float) -> None:
    a, s, k = 0.5, 0.1, 3
    field = MoleculeField(lean(k + 32).__class__(**{**lean(k + 32).to_dict(), "outputs": k + 1}), k,
                          scale=a, spread=s, position_scale=1.0).double().requires_grad_(False)  # fmt: skip
    field.network.embedding_out.weight.zero_()
    field.network.embedding_out.bias.zero_()  # the prior of the elements is now uniform
    source = torch.Generator().manual_seed(1)
    types = torch.randint(0, k, (400_000,), generator=source)
    clean = a * torch.nn.functional.one_hot(types, k) + s * torch.randn(
        400_000, k, generator=source, dtype=torch.float64
    )
    h = (1 - time) * clean[0] + time * torch.tensor([0.3, -0.2, 0.4], dtype=torch.float64)
    log_weight = -0.5 * ((h - (1 - time) * clean) / time).square().sum(-1)
    weight = (log_weight - log_weight.max()).exp()
    weight = weight / weight.sum()
    expected = (weight[:, None] * (h - clean) / time).sum(0)
    spread = (weight.square()[:, None] * ((h - clean) / time - expected).square()).sum(0).sqrt()
    t = torch.tensor([time], dtype=torch.float64)
    _, found = field(t, torch.zeros(1, 1, 3, dtype=torch.float64), h[None, None])
    assert bool(((found[0, 0] - expected).abs() < 5 * spread + 1e-9).all())  # false alarm below 1e-5


def test_the_preconditioned_target_has_unit_variance() -> None:
    source = torch.Generator().manual_seed(0)
    x, e = torch.randn(2, 200_000, generator=source, dtype=torch.float64)
    for t in (0.0, 0.2, 0.5, 0.9, 1.0):
        variance = (1 - t) ** 2 + t**2
        target = ((e - x) - (2 * t - 1) / variance * ((1 - t) * x + t * e)) * math.sqrt(variance)
        assert float(target.var()) == pytest.approx(1.0, abs=0.02)


def test_a_network_of_the_wrong_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="5 inputs"):
        VectorField(EGNNConfig.published_enf(4, 5), CHANNELS)
    with pytest.raises(ConfigError, match="positive"):
        MoleculeField(lean(CHANNELS + 32), CHANNELS, scale=0.3, spread=0.0, position_scale=1.5)


# --- linearized ---------------------------------------------------------------------------------------------


def test_the_linearized_field_is_its_jacobian_by_automatic_differentiation(case) -> None:  # type: ignore[no-untyped-def]
    field, t, x, h = case
    if not isinstance(field, VectorField):
        pytest.skip("that field leaves its Jacobian to automatic differentiation")
    source = torch.Generator().manual_seed(9)
    dx, dh = (torch.randn(2, *at.shape, generator=source, dtype=torch.float64) for at in (x, h))
    with torch.no_grad():
        *value, push = field.linearized(t, x, h)
        found = push(dx, dh)
    for one, other in zip(value, field(t, x, h), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    for k in range(2):
        _, wanted = jvp(lambda *at: field(t, *at), (x, h), (dx[k], dh[k]))
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one[k], other, **CLOSE)


def test_the_trace_is_that_of_the_whole_jacobian(case) -> None:  # type: ignore[no-untyped-def]
    field, t, x, h = case
    d = x.shape[-1]
    directions = centered_directions(x.shape[-2], d, CHANNELS, dtype=torch.float64)
    state = torch.cat([x, h], -1)
    with torch.no_grad():
        value, trace = exact_trace(field, t, state, directions, d, chunk=5)
    torch.testing.assert_close(value, torch.cat(field(t, x, h), -1), **CLOSE)
    basis = directions.flatten(1)
    for k in range(len(x)):

        def alone(flat: Tensor, k: int = k) -> Tensor:
            at = flat.view(1, *state.shape[1:])
            return torch.cat(field(t[k : k + 1], at[..., :d], at[..., d:]), -1).flatten()

        jacobian = basis @ jacfwd(alone)(state[k].flatten()) @ basis.T
        torch.testing.assert_close(trace[k], jacobian.trace(), **CLOSE)
