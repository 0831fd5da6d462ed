"""The real QM9: these tests need the package qm9pack and parse it once into the user's cache."""

import importlib.util
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from chemistry.check import check
from chemistry.datasets import SPLITS, load_qm9, published_target
from chemistry.datasets.qm9 import SPLIT_SIZES, UNITS, _number
from chemistry.datasets.qm9_targets import PUBLISHED_UNITS, TARGETS
from chemistry.errors import DatasetError
from chemistry.metrics import stability_and_validity
from chemistry.structure import Structure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("qm9pack") is None, reason="QM9 needs equimol[train]"),
]

# Published tables of the training split.
SIZES = {
    3: 1,
    4: 4,
    5: 5,
    6: 9,
    7: 16,
    8: 49,
    9: 124,
    10: 362,
    11: 807,
    12: 1689,
    13: 3060,
    14: 5136,
    15: 7796,
    16: 10644,
    17: 13025,
    18: 13364,
    19: 13832,
    20: 9482,
    21: 9970,
    22: 3393,
    23: 4848,
    24: 539,
    25: 1506,
    26: 48,
    27: 266,
    29: 25,
}
ATOMS = {1: 923537, 6: 635559, 7: 101476, 8: 140202, 9: 2323}
# Published mean and mean absolute deviation of the validation split.
TARGET_STATISTICS = {
    "alpha": (75.37343, 6.27277),
    "mu": (2.67509, 1.17573),
    "homo": (-6.53859, 0.43957),
    "lumo": (0.32458, 1.03377),
    "gap": (6.86318, 1.06190),
    "cv": (-22.16663, 4.88855),
}


def test_the_training_split_has_the_published_sizes_and_atoms():
    train = load_qm9("train")
    assert train.size_histogram() == SIZES
    assert train.element_counts() == ATOMS
    assert train.elements == (1, 6, 7, 8, 9)


def test_the_splits_share_no_molecule_and_make_up_the_whole():
    names = {split: load_qm9(split).names[:] for split in SPLITS}
    assert {split: len(found) for split, found in names.items()} == SPLIT_SIZES
    assert len(set().union(*names.values())) == sum(SPLIT_SIZES.values()) == 130_831


def test_molecules_are_centered_and_close_to_the_csv():
    train = load_qm9("train")
    means = np.add.reduceat(train.positions, train.offsets[:-1]) / train.sizes[:, None]
    assert np.abs(means).max() < 1e-6
    methane = train[0]
    assert (methane.name, methane.smiles) == ("dsgdb9nsd_000001", "C")
    assert methane.properties["u0"] == -40.47893
    bonds = np.linalg.norm(methane.positions[1:] - methane.positions[0], axis=1)
    assert np.allclose(bonds, 1.0919, atol=1e-3)


def test_exponents_and_bare_points_are_numbers():
    assert (_number("2.1997*^-6"), _number("0."), _number("-9.9614E-6")) == (2.1997e-6, 0.0, -9.9614e-6)


def test_every_property_is_finite_and_has_a_unit():
    train = load_qm9("train")
    assert train.units == UNITS
    assert all(np.isfinite(values).all() for values in train.properties.values())


@pytest.mark.parametrize("name", TARGET_STATISTICS)
def test_targets_have_the_published_mean_and_deviation(name):
    values = published_target(load_qm9("valid"), name)
    mean = values.mean()
    assert (mean, np.abs(values - mean).mean()) == pytest.approx(TARGET_STATISTICS[name], abs=1e-5)


def test_the_gap_is_the_difference_of_the_orbitals_and_energies_are_of_atomization():
    test = load_qm9("test")
    gap, homo, lumo = (published_target(test, name) for name in ("gap", "homo", "lumo"))
    assert np.abs(gap - (lumo - homo)).max() < 0.01
    assert (published_target(test, "u0") < -5).all()
    assert set(TARGETS) == set(PUBLISHED_UNITS)
    with pytest.raises(DatasetError, match="choose one of"):
        published_target(test, "taste")


def test_processes_that_start_together_build_one_whole_cache(tmp_path):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        loaded = [pool.submit(load_qm9, "test", tmp_path) for _ in range(3)]
        hashes = {future.result().content_hash for future in loaded}
    assert hashes == {load_qm9("test").content_hash}
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["qm9"]


def test_real_molecules_score_as_published():
    test = load_qm9("test")
    started = time.perf_counter()
    metrics = stability_and_validity(test[index] for index in range(0, len(test), 4))
    assert time.perf_counter() - started < 60
    assert metrics.n_molecules == 3271
    percent = {name: round(100 * item.value, 2) for name, item in metrics.values.items()}
    assert percent["molecule_stable"] == 94.74
    assert percent["atom_stable"] == 99.26
    assert percent["valid"] == 97.58
    assert metrics.values["molecule_stable"].low < 0.9474 < metrics.values["molecule_stable"].high


def test_check_and_the_published_metrics_agree_on_every_molecule():
    test, generator = load_qm9("test"), np.random.default_rng(0)
    for index in range(0, len(test), 40):
        found = test[index]
        noise = generator.normal(size=found.positions.shape) * generator.choice([0.0, 0.03, 0.1])
        structure = Structure(found.numbers, found.positions + noise)
        report = check(structure)
        values = {
            name: item.value for name, item in stability_and_validity([structure], resamples=1).values.items()
        }
        assert (report.valid, report.connected) == (values["valid"], values["connected"])
        assert report.molecule_stable == values["molecule_stable"]
        assert report.stable_atoms == pytest.approx(values["atom_stable"] * report.n_atoms)
