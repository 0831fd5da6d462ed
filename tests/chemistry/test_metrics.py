import json

import numpy as np
import pytest
import rdkit
from hypothesis import given
from hypothesis import strategies as st

from chemistry.bootstrap import Interval, ratio_interval
from chemistry.formats import embed
from chemistry.metrics import published_smiles, stability_and_validity
from chemistry.structure import Structure

from .conftest import bare, rotation


def figures(structures, **options):
    return {
        name: item.value
        for name, item in stability_and_validity(structures, resamples=10, **options).values.items()
    }


def test_each_fraction_has_its_published_denominator(hard):
    water, radical, cation, apart = (
        bare(hard[name]) for name in ("water", "radical", "cation", "disconnected")
    )
    metrics = stability_and_validity(
        [water, water, radical, cation, apart], reference_smiles={published_smiles(water)}, resamples=50
    )
    n_atoms = 3 + 3 + 7 + 8 + 13
    found = {name: (item.value, item.n) for name, item in metrics.values.items()}
    assert found == {
        "atom_stable": (pytest.approx((n_atoms - 2) / n_atoms), n_atoms),  # one carbon, one nitrogen
        "molecule_stable": (3 / 5, 5),
        "valid": (4 / 5, 5),
        "unique": (3 / 4, 4),
        "valid_and_unique": (3 / 5, 5),
        "connected": (4 / 5, 5),
        "novel": (2 / 3, 3),
    }
    assert metrics.rdkit_version == rdkit.__version__
    assert metrics.bond_rule == "qm9 distance table"
    json.dumps(metrics.summary(), allow_nan=False)


def test_the_smiles_is_of_the_largest_fragment(hard):
    apart = hard["disconnected"]  # methanol and methylamine: the amine has more atoms
    found = figures([bare(apart)], reference_smiles={published_smiles(bare(embed("CN")))})
    assert found["novel"] == 0


def test_novelty_is_left_out_without_a_reference(hard):
    assert "novel" not in figures([bare(hard["water"])])


def test_drug_sized_validity_reads_every_bond_as_single(hard):
    polyyne = bare(hard["fluoropyridine"])
    assert figures([polyyne], rule="geom")["valid"] == 1
    assert figures([polyyne], rule="geom")["molecule_stable"] == figures([polyyne])["molecule_stable"]


@given(st.integers(0, 1000))
def test_figures_do_not_depend_on_orientation_or_order(hard, seed):
    generator = np.random.default_rng(seed)
    before = [bare(item) for item in hard.values()]
    after = []
    for item in generator.permutation(len(before)):
        structure = before[item]
        order = generator.permutation(structure.n_atoms)
        after.append(Structure(structure.numbers[order], structure.positions[order] @ rotation(seed)))
    assert figures(after) == figures(before)


def test_nothing_at_all_gives_zero_with_an_interval_that_says_nothing():
    values = stability_and_validity([]).values
    assert set(values.values()) == {Interval(0.0, 0.0, 1.0, 0)}


def test_an_atom_with_dozens_of_bonds_is_invalid_not_an_error():
    cloud = Structure(np.full(180, 6), np.random.default_rng(0).normal(size=(180, 3)) * 0.3)
    assert figures([cloud])["valid"] == 0


def test_intervals_cover_the_truth_as_often_as_they_claim():
    # 200 binomial samples at p = 0.8: coverage 0.95 nominal, below 0.89 with probability under 1e-3.
    generator = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        sample = (generator.random(400) < 0.8).astype(float)
        found = ratio_interval(sample, np.ones(400), resamples=300, seed=seed)
        hits += found.low <= 0.8 <= found.high
    assert hits / 200 > 0.89


def test_intervals_are_the_same_for_the_same_seed_and_narrow_with_more_items():
    few, many = np.tile([1.0, 0.0, 1.0], 20), np.tile([1.0, 0.0, 1.0], 2000)
    first, again = (ratio_interval(few, np.ones_like(few)) for _ in range(2))
    assert first == again
    wide = ratio_interval(many, np.ones_like(many))
    assert first.low < wide.low < 2 / 3 < wide.high < first.high


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    sample = np.tile([1.0, 0.0], 5000)
    found = ratio_interval(sample, np.ones_like(sample), resamples=4000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / 100, rel=0.05)
