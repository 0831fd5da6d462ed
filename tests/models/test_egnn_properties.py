"""Property prediction: its symmetries, its three ways of batching, its intervals, and the published layout."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from models.core.errors import CheckpointError, ConfigError
from models.egnn.pairs import DensePairs, SparsePairs
from models.egnn_properties.composition import COMPONENTS, PROPERTIES, SUMS, composition, difference
from models.egnn_properties.conformal import conformal_quantile, half_width, quantiles
from models.egnn_properties.model import PropertyEGNN
from models.egnn_properties.pooling import DensePool, SparsePool
from models.egnn_properties.predict import raw_predictions

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
READOUTS = ("physical", "published")


def small(readout: str = "physical", seed: int = 2) -> PropertyEGNN:
    """A small float64 network with a cheap model that is not zero."""
    source = np.random.default_rng(seed)
    names = COMPONENTS if readout == "physical" else ("alpha",)
    components = {
        name: {
            "counts": source.normal(size=4).tolist(), "constant": float(source.normal()),
            "moment": 0.5 if name == "r2" else 0.0, "scale": 0.0 if name == "h-u" else 1.5,
        }
        for name in names
    }  # fmt: skip
    network = {"width": 16, "outputs": 16, "message_width": 8, "layers": 3, "radial": 6, "moves": False}
    if readout == "published":
        network |= {"message_width": 16, "radial": 0, "symmetric": False, "normalize": False, "divisor": 1.0}
    torch.manual_seed(seed)
    model = PropertyEGNN(
        {
            "elements": [1, 6, 7, 8], "properties": list(PROPERTIES) if readout == "physical" else ["alpha"],
            "components": components, "readout": readout, "network": network,
            "input": "elements" if readout == "physical" else "powers",
        }
    )  # fmt: skip
    if readout == "physical":
        with torch.no_grad():  # a fresh network says next to nothing, which would hide a broken law
            for name, parameter in model.named_parameters():
                if name.startswith(("network", "readout")) and parameter.dim() > 1:
                    parameter.mul_(2)
    return model.double().eval()


@pytest.fixture(params=READOUTS)
def model(request: pytest.FixtureRequest) -> PropertyEGNN:
    return small(request.param)


@pytest.fixture
def bucket(source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Atomic numbers and positions of four molecules of seven atoms, away from the origin."""
    kinds = torch.tensor([1, 6, 7, 8])
    numbers = kinds[torch.randint(4, (4, 7), generator=source)]
    x = 1.5 * torch.randn(4, 7, 3, generator=source, dtype=torch.float64) + torch.tensor([3.0, -1.0, 2.0])
    return numbers, x


@torch.no_grad()
def test_predictions_do_not_change_when_a_molecule_is_turned_mirrored_moved_or_relabeled(
    model: PropertyEGNN, bucket: tuple[Tensor, Tensor], source: torch.Generator
) -> None:
    numbers, x = bucket
    before = model(numbers, x)
    assert float(before.values.std(0).min()) > 1e-3  # the molecules differ, so equality below means something
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=source, dtype=torch.float64))
    order = torch.randperm(7, generator=source)
    for matrix in (q, -q):
        after = model(numbers[:, order], (x @ matrix.T + torch.tensor([5.0, 0.0, -7.0]))[:, order])
        torch.testing.assert_close(after.values, before.values, **CLOSE)
        torch.testing.assert_close(after.scales, before.scales, **CLOSE)
        torch.testing.assert_close(after.atoms, before.atoms[:, order], **CLOSE)


@torch.no_grad()
def test_a_stretched_molecule_has_other_properties(
    model: PropertyEGNN, bucket: tuple[Tensor, Tensor]
) -> None:
    numbers, x = bucket
    change = (model(numbers, 1.1 * x).values - model(numbers, x).values).abs()
    assert float(change.max(0).values.min()) > 1e-3


@torch.no_grad()
def test_a_sparse_batch_of_different_molecules_gives_what_dense_buckets_give(
    model: PropertyEGNN, bucket: tuple[Tensor, Tensor]
) -> None:
    numbers, x = bucket
    sizes = (7, 3, 5, 4)
    graphs = []
    for k, n in enumerate(sizes):
        edges = torch.tensor(list(itertools.permutations(range(n), 2))).T
        graphs.append(Data(z=numbers[k, :n], pos=x[k, :n], edge_index=edges, num_nodes=n))
    batch = Batch.from_data_list(graphs)
    pool = SparsePool(batch.batch, len(sizes))
    found = model(batch.z, batch.pos, SparsePairs(batch.edge_index, batch.num_nodes), pool)
    for k, n in enumerate(sizes):
        alone = model(numbers[k : k + 1, :n], x[k : k + 1, :n])
        torch.testing.assert_close(found.values[k : k + 1], alone.values, **CLOSE)
        torch.testing.assert_close(found.scales[k : k + 1], alone.scales, **CLOSE)


@torch.no_grad()
def test_padding_changes_nothing(model: PropertyEGNN, bucket: tuple[Tensor, Tensor]) -> None:
    numbers, x = bucket
    mask = torch.ones(4, 7, 1, dtype=torch.float64)
    mask[:, 5:] = 0
    padded = model(numbers * mask[..., 0].long(), x * mask, DensePairs(7, mask=mask), DensePool(mask))
    alone = model(numbers[:, :5], x[:, :5])
    torch.testing.assert_close(padded.values, alone.values, **CLOSE)
    torch.testing.assert_close(padded.scales, alone.scales, **CLOSE)


@torch.no_grad()
def test_a_molecule_is_predicted_alike_alone_and_among_others(bucket: tuple[Tensor, Tensor]) -> None:
    model = small()
    numbers, x = bucket
    z = [numbers[k, : 3 + k].numpy() for k in range(4)]
    p = [x[k, : 3 + k].numpy() for k in range(4)]
    together = dict(raw_predictions(model, z, p))
    for k in range(4):
        (alone,) = (raw for _, raw in raw_predictions(model, z[k : k + 1], p[k : k + 1]))
        np.testing.assert_allclose(together[k].values, alone.values, rtol=1e-12)
        np.testing.assert_allclose(together[k].distances, alone.distances, rtol=1e-10)


@torch.no_grad()
def test_predicted_properties_fit_together(bucket: tuple[Tensor, Tensor]) -> None:
    model = small()
    found = model(*bucket)
    value = {name: found.values[:, k] for k, name in enumerate(PROPERTIES)}
    torch.testing.assert_close(value["gap"], value["lumo"] - value["homo"], **CLOSE)
    component = {name: found.components[:, k] for k, name in enumerate(COMPONENTS)}
    torch.testing.assert_close(value["h"] - value["u"], component["h-u"], **CLOSE)
    torch.testing.assert_close(value["g"] - value["h"], component["g-h"], **CLOSE)


def test_properties_made_of_components_give_those_components_back() -> None:
    matrix = np.array(composition(PROPERTIES, COMPONENTS))
    for k, component in enumerate(COMPONENTS):
        row = sum(
            (sign * matrix[PROPERTIES.index(name)] for name, sign in difference(component).items()),
            np.zeros(len(COMPONENTS)),
        )
        np.testing.assert_array_equal(row, np.eye(len(COMPONENTS))[k])
    with pytest.raises(ConfigError, match="gap"):
        composition(("gap",), ("lumo",))
    assert set(SUMS) <= set(PROPERTIES)


def test_the_dipole_and_the_extent_of_a_molecule_far_away_are_those_of_the_molecule(
    bucket: tuple[Tensor, Tensor],
) -> None:
    model = small()
    numbers, x = bucket
    with torch.no_grad():
        near, far = model(numbers, x).values, model(numbers, x + 1000.0).values
    torch.testing.assert_close(near, far, rtol=1e-6, atol=1e-6)


def test_a_gradient_reaches_every_parameter(model: PropertyEGNN, bucket: tuple[Tensor, Tensor]) -> None:
    numbers, x = bucket
    y = torch.randn(4, len(model.properties), dtype=torch.float64)
    batch = Batch(
        z=numbers.flatten(), pos=x.flatten(0, 1), y=y, ptr=torch.arange(5) * 7,
        batch=torch.arange(4).repeat_interleave(7),
    )  # fmt: skip
    model.loss(batch, options={}, generator=torch.Generator())["loss"].sum().backward()
    unused = [
        name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)
    ]
    assert unused == []


def test_the_scales_learn_without_moving_the_values(bucket: tuple[Tensor, Tensor]) -> None:
    model = small()
    found = model(*bucket)
    found.scales.log().sum().backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert touched and all(name.startswith("error_") for name in touched)


def test_an_unknown_setting_is_refused() -> None:
    config = small().config
    with pytest.raises(ConfigError, match="colour"):
        PropertyEGNN({**config, "colour": "red"})
    with pytest.raises(ConfigError, match="single property"):
        PropertyEGNN({**config, "readout": "published"})
    with pytest.raises(ConfigError, match="moves"):
        PropertyEGNN({**config, "network": {**config["network"], "moves": True}})


# --- intervals ----------------------------------------------------------------------------------------------


def test_a_conformal_interval_covers_new_draws_as_often_as_promised() -> None:
    # For n held-out scores the coverage of new draws is Beta(rank, n + 1 - rank) distributed (Vovk, 2012). Over 300
    # repetitions its mean has a standard error under 0.001, so 5 of them fail one run in a million.
    source = np.random.default_rng(11)
    n, repetitions = 499, 300
    for coverage in (0.5, 0.9, 0.99):
        found = []
        for _ in range(repetitions):
            held_out = source.exponential(size=n) * source.lognormal(size=n)
            new = source.exponential(size=2000) * source.lognormal(size=2000)
            found.append(float((new <= conformal_quantile(held_out, coverage)).mean()))
        wanted = np.ceil((n + 1) * coverage) / (n + 1)
        error = np.std(found, ddof=1) / np.sqrt(repetitions)
        assert abs(np.mean(found) - wanted) < 5 * error


def test_too_few_scores_for_a_coverage_and_an_unknown_coverage_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few"):
        conformal_quantile(np.arange(50.0), 0.99)
    table = quantiles(np.arange(1.0, 1000.0))
    assert half_width(table, 0.9) == 900.0
    with pytest.raises(CheckpointError, match="calibrated for"):
        half_width(table, 0.7)
