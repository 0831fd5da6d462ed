import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from chemistry.errors import BadFormatError
from chemistry.formats import ReadLimits, embed, read_structures, write_sdf, write_smiles, write_xyz
from chemistry.reasons import CODES, Failure
from chemistry.structure import Structure

from .conftest import HARD_SMILES

# Text that XML-like, line-based and quoted formats all could stumble over.
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@st.composite
def structures(draw):
    numbers = draw(st.lists(st.integers(1, 118), min_size=1, max_size=12))
    coordinate = st.floats(-999, 999, allow_nan=False, width=32)
    positions = draw(
        st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=len(numbers), max_size=len(numbers))
    )
    names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=10)
    properties = draw(st.dictionaries(names, words, max_size=3))
    reserved = ("charge", "title", "Properties", "Lattice", "pbc")
    properties = {name: value for name, value in properties.items() if name not in reserved}
    return Structure(numbers, positions, draw(st.integers(-3, 3)), draw(words), properties=properties)


def only(text, form, **options):
    found = list(read_structures(text, form, **options))
    assert len(found) == 1, found
    return found[0]


def codes(text, form, **options):
    """Per record the code of its first reason, or the formula."""
    return [
        item.reasons[0].code if isinstance(item, Failure) else item.formula
        for item in read_structures(text, form, **options)
    ]


def squeezed(text):
    return " ".join(text.split())


@given(structures())
def test_xyz_brings_back_atoms_charge_title_and_properties(structure):
    back = only(write_xyz(structure), "xyz")
    assert back.numbers.tolist() == structure.numbers.tolist()
    assert np.allclose(back.positions, structure.positions, rtol=0, atol=5.1e-9)
    assert back.charge == structure.charge
    assert back.title == squeezed(structure.title)
    wanted = {name: squeezed(value) for name, value in structure.properties.items()}
    assert back.properties == {name: value for name, value in wanted.items() if value}


@pytest.mark.parametrize("v3000", [False, True])
@given(structure=structures())
def test_sdf_brings_back_atoms_title_and_properties(v3000, structure):
    back = only(write_sdf(structure, v3000=v3000), "sdf")
    assert isinstance(back, Structure), back
    assert back.numbers.tolist() == structure.numbers.tolist()
    assert np.allclose(back.positions, structure.positions, rtol=0, atol=5.1e-7 if v3000 else 5.1e-5)
    assert back.title == squeezed(structure.title)[:200].strip()
    assert back.properties.keys() == structure.properties.keys()


@pytest.mark.parametrize("v3000", [False, True])
@pytest.mark.parametrize("name", HARD_SMILES)
def test_sdf_brings_back_bonds_and_charges(hard, name, v3000):
    structure = hard[name]
    back = only(write_sdf(structure, v3000=v3000), "sdf")
    assert sorted(back.bonds) == sorted(structure.bonds)
    assert back.atom_charges == structure.atom_charges
    assert back.charge == structure.charge
    assert write_smiles(back) == write_smiles(structure) == Chem.CanonSmiles(HARD_SMILES[name])


@pytest.mark.parametrize("form", ["sdf", "xyz", "smiles"])
@given(text=st.text(max_size=400))
def test_any_text_gives_structures_or_failures_with_known_codes(form, text):
    for item in read_structures(text, form, limits=ReadLimits(max_atoms=5)):
        assert isinstance(item, Structure | Failure)
        if isinstance(item, Failure):
            assert item.reasons
            assert all(reason.code in CODES and reason.message for reason in item.reasons)


@pytest.mark.parametrize("form", ["sdf", "xyz"])
@given(data=st.data())
def test_a_spoiled_record_never_raises_and_leaves_its_neighbors(hard, form, data):
    write = write_sdf if form == "sdf" else write_xyz
    good = write(hard["nitro"])
    start = data.draw(st.integers(0, len(good) - 2))
    end = data.draw(st.integers(start + 1, min(len(good) - 1, start + 40)))
    bad = (
        good[:start]
        + data.draw(st.text(st.characters(exclude_characters="\r\n$0123456789"), max_size=5))
        + good[end:]
    )
    found = list(read_structures(good + bad + good, form))
    assert found[0].formula == "CH3NO2"
    assert all(isinstance(item, Structure | Failure) for item in found)
    if form == "sdf" and "$$$$" in bad:
        assert found[-1].formula == "CH3NO2"


@pytest.mark.parametrize("form", ["sdf", "xyz", "smiles"])
@pytest.mark.parametrize("text", ["", "\n", "\r\n\r\n", "\ufeff", "   \n \n"])
def test_nothing_gives_no_records(form, text):
    assert list(read_structures(text, form)) == []


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", ["sdf", "xyz"])
def test_every_line_ending_is_read(hard, form, ending):
    text = (write_sdf if form == "sdf" else write_xyz)(hard["water"]).replace("\n", ending)
    assert codes("\ufeff" + text, form) == ["H2O"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("3\n\nO 0 0 0\nH 0 0 1\n", "bad-record"),  # cut
        ("3\n\nO 0 0 0\nH 0 0 1\n\n\n", "bad-record"),
        ("2\n\nH 0 0 0\nH 0 0 nan\n", "bad-record"),
        ("2\n\nH 0 0 0\nH 0 0 1e999\n", "bad-record"),
        ("1\n\nH 0 0\n", "bad-record"),
        ("1\n\nH 0 0 zero\n", "bad-record"),
        ("1\n\nH 0 0 1_0\n", "bad-record"),
        ("1\n\nXx 0 0 0\n", "unknown-element"),
        ("1\n\n0 0 0 0\n", "unknown-element"),
        ("0\n\n", "bad-record"),
        ("-1\n\n", "bad-record"),
        ("no atoms\n", "bad-record"),
        ("999999999\n\nH 0 0 0\n", "too-large"),
        ("1\ncharge=lots\nH 0 0 0\n", "bad-record"),
        ("1\ncharge=inf\nH 0 0 0\n", "bad-record"),
        ("1\nProperties=pos:R:3\n0 0 0\n", "bad-record"),
        ("1\n" + "x" * 20_000 + "\nH 0 0 0\n", "too-large"),
    ],
)
def test_bad_xyz_is_named(text, code):
    assert codes(text, "xyz")[0] == code
    assert codes(text.rstrip("\n") + "\n1\nafter\nF 0 0 0\n", "xyz")[0] in (code, "F")


def test_xyz_reads_numbers_fortran_exponents_and_extended_columns():
    assert only("1\nplain title\n17 1D0 -2.5d-1 3*^0\n", "xyz").positions.tolist() == [[1.0, -0.25, 3.0]]
    comment = 'Properties=species:S:1:mass:R:1:pos:R:3 charge=-1 title="a \\"b\\" c" flag Lattice="1 0 0"'
    found = only(f"1\n{comment}\nO 16 1 2 3\n", "xyz")
    assert (found.formula, found.positions.tolist(), found.title) == ("O-", [[1.0, 2.0, 3.0]], 'a "b" c')
    assert found.properties == {"flag": "true"}


def spoiled(hard, old, new):
    text = write_sdf(hard["water"])
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("M  END\n", "", "bad-record"),
        (" O  ", " Xx ", "unknown-element"),
        (" O  ", " *  ", "unknown-element"),
        (" O  ", " R# ", "unknown-element"),
        ("    0.0", "    nan", "bad-record"),
        ("    0.0", "    abc", "bad-record"),
        ("  3  2", "  9  2", "bad-record"),
        ("  3  2", "  x  2", "bad-record"),
        ("  3  2", "999  2", "too-large"),
        ("  1  2  1", "  1  9  1", "bad-record"),
        ("     RDKit          3D", "y" * 20_000, "too-large"),
    ],
)
def test_bad_sdf_is_named_and_the_next_record_is_read(hard, old, new, code):
    text = spoiled(hard, old, new)
    found = list(read_structures(text + write_sdf(hard["allene"]), "sdf", limits=ReadLimits(max_atoms=500)))
    assert found[0].reasons[0].code == code, found[0]
    assert found[0].title == "water"
    assert found[1].formula == "C3H4"


def test_a_flat_drawing_is_refused_with_advice_and_a_flat_molecule_is_not(hard):
    drawing = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    failure = only(drawing, "sdf")
    assert failure.reasons[0].code == "flat"
    assert "SMILES" in str(failure)
    water = hard["water"].positions * [1, 1, 0]
    flat = Structure(hard["water"].numbers, water, bonds=hard["water"].bonds)
    assert only(write_sdf(flat), "sdf").formula == "H2O"


def test_hydrogens_are_read_as_given_and_added_on_request(hard):
    mol = Chem.RemoveHs(Chem.MolFromMolBlock(write_sdf(hard["nitro"]), removeHs=False))
    text = Chem.MolToMolBlock(mol)
    assert codes(text, "sdf") == ["CNO2"]
    assert codes(text, "sdf", add_hydrogens=True) == ["CH3NO2"]


def test_a_property_cannot_break_out_of_its_record(hard):
    water = hard["water"]
    evil = Structure(
        water.numbers,
        water.positions,
        title="one\n$$$$\ntwo",
        properties={"a>\n<b": "x\n\n$$$$\n> <c>\ny", "d": ""},
    )
    back = only(write_sdf(evil), "sdf")
    assert back.formula == "H2O"
    assert set(back.properties) == {"a_ _b", "d"}
    back = only(write_xyz(evil), "xyz")
    assert back.formula == "H2O"


def test_limits_stop_reading_and_say_so(hard):
    text = write_xyz(hard["water"]) * 5
    assert codes(text, "xyz", limits=ReadLimits(max_records=3)) == ["H2O", "H2O", "H2O", "too-large"]
    assert codes(text, "xyz", limits=ReadLimits(max_atoms=2)) == ["too-large"] * 5
    assert codes("CCO\nC" + "C" * 300, "smiles", limits=ReadLimits(max_atoms=20)) == ["C2H6O", "too-large"]


@pytest.mark.parametrize(
    ("smiles", "code"),
    [
        ("nonsense", "bad-record"),
        ("C(C)(C)(C)(C)C", "bad-record"),
        ("c1cccc1", "bad-record"),
        ("C1CC", "bad-record"),
        ("*C", "unknown-element"),
        ("[Xx]", "bad-record"),
    ],
)
def test_bad_smiles_is_named(smiles, code):
    assert codes(smiles, "smiles") == [code]


def test_smiles_takes_a_title_after_a_space_or_a_tab():
    found = list(read_structures("O water of life\n\n  \nN\tammonia\n", "smiles"))
    assert [item.title for item in found] == ["water of life", "ammonia"]


def test_coordinates_from_smiles_depend_on_the_seed_alone():
    first, again, other = (embed("CC(C)O", seed=seed).positions for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_fragments_of_a_smiles_stand_apart():
    both = embed("CC.CC.[Na+].[Cl-]")
    assert both.charge == 0
    separation = np.linalg.norm(both.positions[:, None] - both.positions[None], axis=-1)
    assert separation[np.triu_indices(both.n_atoms, 1)].min() > 0.9
    assert write_smiles(both) == "CC.CC.[Cl-].[Na+]"


def test_smiles_keeps_stereo_from_3d():
    for smiles in ("C[C@H](O)F", "C[C@@H](O)F", "F/C=C/F", "F/C=C\\F"):
        assert write_smiles(embed(smiles)) == Chem.CanonSmiles(smiles)


def test_smiles_of_atoms_without_bonds_is_a_failure_not_a_guess():
    assert isinstance(write_smiles(Structure([6], [[0, 0, 0]])), Failure)


def test_an_unknown_format_is_refused_at_once():
    with pytest.raises(BadFormatError, match="sdf, xyz, smiles"):
        read_structures("", "pdb")
