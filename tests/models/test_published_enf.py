"""Our E-NF against numbers that the published code computed with the published weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.core.ode import Solver
from models.enf.likelihood import Parts, Quadrature, parts_of
from models.enf.model import ENF
from models.published.kinds import import_checkpoint
from models.published.saving import save_imported
from models.weights import load_model

FOLDER = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "en_flows_qm9"


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray[Any, Any]]:
    if not (FOLDER / "reference.npz").is_file():
        pytest.skip(f"the published weights are not at {FOLDER}")
    with np.load(FOLDER / "reference.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def published(reference: dict[str, Any]) -> ENF:
    model = import_checkpoint("enf", FOLDER, "published").model.double()
    assert isinstance(model, ENF)
    return model


def inputs(reference: dict[str, Any], k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Numbers, centered positions, dequantization noise and Hutchinson's probe of molecule k, without padding."""
    n = int(reference["n_atoms"][k])
    rows = [
        torch.from_numpy(reference[name][k : k + 1, :n])
        for name in ("atomic_numbers", "positions_raw", "eps_dequant", "eps_hutch")
    ]
    return rows[0], remove_mean(rows[1]), rows[2].double(), rows[3].double()


def check(model: ENF, reference: dict[str, Any], k: int, kind: str, parts: Parts, tolerance: float) -> None:
    """Compare the negative log-likelihood and each of its terms."""
    expected = {
        name: float(reference[f"{kind}_{name}"][k]) for name in ("log_pz", "ldj_actnorm", "ldj_ffjord")
    }
    found = {"log_pz": parts.base, "ldj_actnorm": parts.actnorm, "ldj_ffjord": parts.flow}
    for name, value in found.items():
        assert float(value) == pytest.approx(expected[name], abs=tolerance), name
    assert float(-parts.dequantization) == pytest.approx(float(reference[f"{kind}_log_q"][k]), abs=1e-4)
    size = model.sizes.log_prob(int(reference["n_atoms"][k]))
    assert -float(parts.total()) - size == pytest.approx(float(reference[f"{kind}_nll"][k]), abs=tolerance)


@pytest.mark.parametrize(
    "k", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_likelihoods_with_fixed_noise_are_the_published_ones(
    reference: dict[str, Any], published: ENF, k: int
) -> None:
    numbers, x, noise, probe = inputs(reference, k)
    parts, _, _ = parts_of(published, numbers, x, noise, Solver(tolerance=1e-7), probe=probe)
    check(published, reference, k, "hutchinson_tol1e7", parts, 1e-3)


@pytest.mark.parametrize(
    ("k", "method"),
    [
        (0, Quadrature(24, 2, 0.3)),
        pytest.param(0, Solver(tolerance=1e-6), marks=pytest.mark.slow),
        pytest.param(1, Quadrature(32, 2, 10.0), marks=pytest.mark.slow),
        pytest.param(2, Quadrature(32, 2, 10.0), marks=pytest.mark.slow),
    ],
)
def test_likelihoods_with_the_exact_trace_are_the_published_ones(
    reference: dict[str, Any], published: ENF, k: int, method: Solver | Quadrature
) -> None:
    numbers, x, noise, _ = inputs(reference, k)
    parts, _, error = parts_of(published, numbers, x, noise, method)
    check(published, reference, k, "exact_tol1e6", parts, 2e-2)
    assert float(error) < 0.5  # what the quadrature says of itself is pessimistic


def test_the_corrected_likelihood_differs_by_three_scales_of_space(
    reference: dict[str, Any], published: ENF
) -> None:
    numbers, x, noise, probe = inputs(reference, 0)
    corrected = import_checkpoint("enf", FOLDER, "corrected").model.double()
    assert isinstance(corrected, ENF)
    values = [
        float(parts_of(model, numbers, x, noise, Solver("rk4", steps=2), probe=probe)[0].total())
        for model in (corrected, published)
    ]
    assert values[0] - values[1] == pytest.approx(3 * 0.8203668, abs=1e-5)


def test_the_published_weights_travel_through_safetensors_unchanged(
    reference: dict[str, Any], published: ENF, tmp_path: Path
) -> None:
    path = save_imported("enf", FOLDER, "published-enf", tmp_path, behavior="published", licence="MIT")
    card = json.loads(path.read_text())
    again = load_model(card, path.with_suffix(".safetensors")).double()
    for name, value in again.state_dict().items():
        assert torch.equal(value, published.state_dict()[name]), name
    times_and_flag = 5  # no parameters here
    assert card["weights"]["parameters"] == 176_479 + 117_708 - times_and_flag


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("qm9pack") is None, reason="QM9 needs equimol[train]")
def test_the_mean_over_test_molecules_is_the_published_one(published: ENF) -> None:
    """The published mean is -55.2 +- 2.6 nats; with 48 molecules and one draw each our own error is about 7."""
    from models.training.evaluations.enf import measure_likelihood

    model = import_checkpoint("enf", FOLDER, "published").model
    assert isinstance(model, ENF)
    method = Solver(tolerance=1e-4)
    found = measure_likelihood(model, "qm9", 48, trace="hutchinson", draws=1, method=method)[0]
    half = (found["high"] - found["low"]) / 2
    assert half < 20
    # four standard errors: false alarm below 1e-4
    assert abs(found["value"] + 55.2) < 2 * np.hypot(half, 2.6)
