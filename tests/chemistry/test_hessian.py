"""Hessians by products: differences, rigid motions, isotopes, frequencies and what follows from them."""

import math

import numpy as np
import pytest
from scipy.constants import R

from chemistry.errors import BadStructureError
from chemistry.formats import embed
from chemistry.hessian import (
    Forces,
    MolecularHessian,
    forces_of,
    hessian,
    hessian_products,
    isotope_masses,
    minimize,
    molecular_hessian,
    product_rule,
    rigid_modes,
    vibrational,
    xtb_available,
)
from chemistry.hessian.thermodynamics import (
    classical_entropy,
    classical_partition_ratio,
    frequencies,
    quantum_entropy,
    reduced_partition_ratio,
)
from chemistry.reasons import Failure
from chemistry.structure import Structure

MODELS = ["mmff", pytest.param("xtb", marks=pytest.mark.skipif(not xtb_available(), reason="needs tblite"))]
WATER = Structure([8, 1, 1], [[0, 0, 0.117], [0, 0.757, -0.471], [0, -0.757, -0.471]])


def springs(numbers, positions, seed=0):
    """A network of springs at rest at `positions`: its Hessian is the sum of k u u^T, at a true minimum."""
    n = len(numbers)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    k = np.random.default_rng(seed).uniform(50, 700, len(pairs))
    rest = [np.linalg.norm(positions[i] - positions[j]) for i, j in pairs]

    def function(x):
        energy, gradient = 0.0, np.zeros_like(x)
        for (i, j), stiffness, length in zip(pairs, k, rest, strict=True):
            d = x[i] - x[j]
            r = np.linalg.norm(d)
            energy += 0.5 * stiffness * (r - length) ** 2
            force = stiffness * (r - length) * d / r
            gradient[i] += force
            gradient[j] -= force
        return energy, gradient

    exact = np.zeros((3 * n, 3 * n))
    for (i, j), stiffness in zip(pairs, k, strict=True):
        u = np.zeros((n, 3))
        u[i] = (positions[i] - positions[j]) / np.linalg.norm(positions[i] - positions[j])
        u[j] = -u[i]
        exact += stiffness * np.outer(u.ravel(), u.ravel())
    return Forces("springs", function, step=1e-3), exact


@pytest.fixture(scope="module", params=MODELS)
def ethanol(request):
    found = molecular_hessian(embed("CCO"), request.param)
    assert isinstance(found, MolecularHessian), found
    return request.param, found


def log_det(found, masses):
    return float(np.linalg.slogdet(vibrational(found.matrix, masses, found.structure.positions).matrix)[1])


def test_hessian_vector_products_of_springs_are_the_closed_form():
    positions = np.random.default_rng(1).normal(size=(5, 3)) * 1.5
    forces, exact = springs([1] * 5, positions)
    directions = np.random.default_rng(2).normal(size=(4, 15))
    products = hessian_products(forces, positions, directions)
    assert np.abs(products - directions @ exact).max() < 1e-6 * np.abs(exact).max()
    assert forces.calls == 4 * 4


def test_hessian_vector_products_agree_with_second_differences_of_the_energy(ethanol):
    model, found = ethanol
    forces = forces_of(found.structure, model)
    x = found.structure.positions
    v = np.random.default_rng(3).normal(size=x.shape)
    v /= np.linalg.norm(v)
    step = 2e-2
    energy = [forces.energy_gradient(x + k * step * v)[0] for k in (-2, -1, 0, 1, 2)]
    curvature = (-energy[0] + 16 * energy[1] - 30 * energy[2] + 16 * energy[3] - energy[4]) / (12 * step**2)
    (product,) = hessian_products(forces, x, v.reshape(1, -1))
    assert product @ v.ravel() == pytest.approx(curvature, rel=1e-4)


def test_a_product_with_nothing_is_nothing(ethanol):
    model, found = ethanol
    forces = forces_of(found.structure, model)
    assert not hessian_products(forces, found.structure.positions, np.zeros((1, found.matrix.shape[0]))).any()
    assert forces.calls == 0


def test_rigid_motions_cost_no_energy_and_are_projected_out(ethanol):
    _, found = ethanol
    masses, x = isotope_masses(found.structure.numbers), found.structure.positions
    rigid = rigid_modes(masses, x)
    assert rigid.shape == (27, 6)
    assert np.allclose(rigid.T @ rigid, np.eye(6), atol=1e-12)
    roots = np.repeat(np.sqrt(masses), 3)
    weighted = found.matrix / np.outer(roots, roots)
    assert np.abs(weighted @ rigid).max() < 1e-4 * np.abs(weighted).max()
    inside = vibrational(found.matrix, masses, x)
    assert inside.modes == 21
    assert np.abs(inside.basis.T @ (roots[:, None] * rigid)).max() < 1e-10
    kept = np.linalg.eigvalsh(weighted)[6:]
    assert np.allclose(np.linalg.eigvalsh(inside.matrix), kept, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("smiles", "modes"), [("O", 3), ("O=C=O", 4), ("C#C", 7)])
def test_a_molecule_has_3n_minus_6_vibrations_and_a_linear_one_has_3n_minus_5(smiles, modes):
    found = molecular_hessian(embed(smiles), "mmff")
    masses = isotope_masses(found.structure.numbers)
    assert vibrational(found.matrix, masses, found.structure.positions).modes == modes


def test_the_product_rule_holds_for_springs_to_rounding():
    rng = np.random.default_rng(4)
    positions = rng.normal(size=(6, 3)) * 1.5
    _, exact = springs([1] * 6, positions)
    for _ in range(5):
        light, heavy = rng.uniform(1, 20, 6), rng.uniform(1, 20, 6)
        logs = [
            np.linalg.slogdet(vibrational(exact, masses, positions).matrix)[1] for masses in (light, heavy)
        ]
        assert logs[1] - logs[0] == pytest.approx(product_rule(light, positions, heavy), abs=1e-11)


def test_the_product_rule_of_teller_and_redlich_holds_for_isotopologues(ethanol):
    _, found = ethanol
    numbers, x = found.structure.numbers, found.structure.positions
    light = isotope_masses(numbers)
    for isotopes in ({"H": 2}, {"O": 18}, {"C": 13, "H": 2}, {"0": 13, "5": 3}):
        heavy = isotope_masses(numbers, isotopes)
        difference = log_det(found, heavy) - log_det(found, light)
        assert difference < -0.01
        assert difference == pytest.approx(product_rule(light, x, heavy), abs=2e-6)


def test_the_product_rule_holds_for_a_linear_molecule():
    found = molecular_hessian(embed("C#C"), "mmff")
    light = isotope_masses(found.structure.numbers)
    heavy = isotope_masses(found.structure.numbers, {"H": 2})
    expected = product_rule(light, found.structure.positions, heavy)
    assert log_det(found, heavy) - log_det(found, light) == pytest.approx(expected, abs=1e-7)


def test_two_atoms_on_a_spring_have_the_frequency_of_the_textbook():
    positions = np.array([[0.0, 0, 0], [1.1, 0, 0]])
    k = 1000.0  # kcal/mol/Angstrom^2
    u = np.array([1, 0, 0, -1, 0, 0.0])
    masses = np.array([12.0, 15.99491])
    inside = vibrational(k * np.outer(u, u), masses, positions)
    found = frequencies(np.linalg.eigvalsh(inside.matrix))
    # sqrt(k/mu)/(2 pi c) in SI: 1 kcal/mol/Angstrom^2 is 0.694769 N/m
    mu = masses.prod() / masses.sum() * 1.66053907e-27
    expected = math.sqrt(k * 0.6947695 / mu) / (2 * math.pi * 2.99792458e10)
    assert found == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_water_vibrates_where_spectroscopy_sees_it(model):
    found = molecular_hessian(WATER, model)
    masses = isotope_masses(found.structure.numbers)
    values = np.linalg.eigvalsh(vibrational(found.matrix, masses, found.structure.positions).matrix)
    # Fundamentals of H2O: bend 1595, stretches 3657 and 3756 per centimetre.
    assert frequencies(values) == pytest.approx([1595, 3657, 3756], rel=0.05)


def test_the_minimum_is_one_and_a_saddle_point_is_left():
    """Planar ammonia is a saddle point of inversion."""
    angles = np.arange(3) * 2 * np.pi / 3
    hydrogens = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], 1)
    found = molecular_hessian(Structure([7, 1, 1, 1], [[0.0, 0, 0], *hydrogens.tolist()]), "mmff")
    assert isinstance(found, MolecularHessian), found
    values = np.linalg.eigvalsh(
        vibrational(found.matrix, isotope_masses(found.structure.numbers), found.structure.positions).matrix
    )
    assert values[0] > 0
    volume = np.linalg.det(found.structure.positions[1:] - found.structure.positions[0])
    assert abs(volume) > 0.1
    assert found.gradient < 1e-4


def test_rotating_the_molecule_does_not_change_the_determinant():
    first = molecular_hessian(embed("CCO", seed=1), "mmff")
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    moved = Structure(
        first.structure.numbers, first.structure.positions @ turn.T + 3.0, bonds=first.structure.bonds
    )
    second = molecular_hessian(moved, "mmff")
    masses = isotope_masses(first.structure.numbers)
    assert log_det(second, masses) == pytest.approx(log_det(first, masses), abs=1e-5)


@pytest.mark.parametrize(
    ("structure", "code"),
    [
        (Structure([2], [[0.0, 0, 0]]), "no-vibrations"),
        (embed("C[Hg]C"), "no-parameters"),
        (embed("CB(C)C"), "no-parameters"),
        (embed("[CH3]"), "no-parameters"),
    ],
    ids=["atom", "mercury", "borane", "radical"],
)
def test_a_molecule_without_parameters_gives_a_reason(structure, code):
    found = molecular_hessian(structure, "mmff")
    assert isinstance(found, Failure)
    assert found.reasons[0].code == code


def test_bonds_are_perceived_where_the_structure_has_none():
    given = embed("C[NH3+]")
    bare = Structure(given.numbers, given.positions, charge=1)
    first, second = molecular_hessian(given, "mmff"), molecular_hessian(bare, "mmff")
    assert second.energy == pytest.approx(first.energy, abs=1e-6)


def test_entropy_of_stiff_modes_vanishes_and_of_soft_ones_is_classical():
    values = np.array([0.5, 1.0, 2.0])  # about 77 to 154 per centimetre
    log_det_values = float(np.log(values).sum())
    assert quantum_entropy(values, 30_000.0) == pytest.approx(
        classical_entropy(log_det_values, 3, 30_000.0), rel=1e-5
    )
    assert quantum_entropy(values * 1e4, 10.0) == pytest.approx(0.0, abs=1e-9)
    # one classical oscillator: R (1 - ln x) with x = h nu / kT, here of 100 per centimetre at 298.15 K
    x = 1.4387769 * 100 / 298.15
    eigenvalue = float((100 / frequencies(np.array([1.0])))[0] ** 2)
    assert classical_entropy(math.log(eigenvalue), 1, 298.15) == pytest.approx(
        R * (1 - math.log(x)), rel=1e-6
    )


def test_isotope_ratios_become_classical_at_high_temperature(ethanol):
    _, found = ethanol
    x = found.structure.positions
    spectra = []
    for isotopes in ({}, {"H": 2}):
        masses = isotope_masses(found.structure.numbers, isotopes)
        spectra.append(np.linalg.eigvalsh(vibrational(found.matrix, masses, x).matrix))
    assert reduced_partition_ratio(*spectra, 298.15) > 1.0  # deuterium prefers the stiffer bonds
    assert reduced_partition_ratio(*spectra, 1e6) == pytest.approx(0.0, abs=1e-3)
    logs = [float(np.log(values).sum()) for values in spectra]
    assert classical_partition_ratio(*logs) == pytest.approx(0.5 * (logs[0] - logs[1]))


def test_isotopes_by_element_by_atom_and_wrong_ones():
    numbers = np.array([6, 1, 1, 1, 1])
    assert isotope_masses(numbers, {"H": 2, "1": 3})[1:3] == pytest.approx([3.01605, 2.01410], abs=1e-4)
    for wrong, text in (
        ({"H": 9}, "whose mass is not known"),
        ({"O": 18}, "no such atom"),
        ({"7": 2}, "atoms are 0 to 4"),
        ({"Q": 2}, "a symbol"),
    ):
        with pytest.raises(BadStructureError, match=text):
            isotope_masses(numbers, wrong)


def test_minimization_ends_where_the_gradient_does():
    positions = np.random.default_rng(5).normal(size=(4, 3)) * 1.5
    forces, _ = springs([1] * 4, positions)
    shaken = positions + 0.1 * np.random.default_rng(6).normal(size=positions.shape)
    found = minimize(forces, shaken)
    assert found.gradient < 1e-5
    assert found.energy < 1e-8
    assert found.calls == forces.calls
    assert np.abs(hessian(forces, found.positions)[0]).max() > 1
