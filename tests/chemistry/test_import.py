import csv

import pytest
import typer
from typer.testing import CliRunner

from chemistry.commands import data_import
from chemistry.datasets import SPLITS, load_dataset
from chemistry.datasets.importing import ImportOptions, import_molecules, split_of
from chemistry.formats import write_sdf, write_xyz
from chemistry.guard import Guard
from chemistry.structure import Structure

from .conftest import bare

SMILES = ["CCO", "CCN", "CCC", "C1CC1", "CC=O", "OCC=O", "CC#N", "c1ccccc1", "CC(=O)O", "CNC", "COC", "NCC#N"]


@pytest.fixture(scope="module")
def guard():
    with Guard(timeout_seconds=30) as made:
        yield made


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call the command on a file with this text; give its result and the data set's folder."""
    monkeypatch.setenv("EQUIMOL_CACHE", str(tmp_path / "cache"))
    app = typer.Typer()
    app.command()(data_import)

    def call(text, name="mine.sdf", *options):
        (tmp_path / name).write_text(text)
        result = CliRunner().invoke(app, [str(tmp_path / name), *options], env={"COLUMNS": "200"})
        return result, tmp_path / "cache" / "datasets" / name.split(".")[0]

    return call


def placed(imported):
    """The split of each molecule, by its SMILES."""
    return {smiles: split for split, data in imported.splits.items() for smiles in data.smiles}


def lines(text):
    return text.splitlines(keepends=True)


def test_the_split_depends_on_the_molecule_alone(guard):
    options = ImportOptions("smiles", valid_fraction=0.3, test_fraction=0.3)
    forward = placed(import_molecules([smiles + "\n" for smiles in SMILES], options, guard))
    backward = placed(import_molecules([smiles + "\n" for smiles in SMILES[::-2]], options, guard))
    assert len(forward) == len(SMILES)
    assert backward.items() <= forward.items()
    assert set(forward.values()) == set(SPLITS)


def test_conformers_of_one_molecule_share_a_split(guard):
    options = ImportOptions("smiles", valid_fraction=0.3, test_fraction=0.3)
    imported = import_molecules(["CCCO\n", "OCCC other way round\n"] * 3, options, guard)
    assert sorted(len(data) for data in imported.splits.values()) == [0, 0, 6]


@pytest.mark.parametrize("form", ["sdf", "xyz"])
def test_every_record_is_accepted_or_listed_with_a_reason(guard, hard, form):
    write = write_sdf if form == "sdf" else write_xyz
    water = hard["water"]
    texts = [
        write(water),
        write(Structure(water.numbers, water.positions * 0.1, title="squashed")),
        write(bare(hard["disconnected"])),
        write(water).replace(" O ", " Q ", 1).replace("O  ", "Qq ", 1),
        write(bare(hard["cubane"], title="too large")),
        write(water),
    ]
    imported = import_molecules(lines("".join(texts)), ImportOptions(form, max_atoms=14), guard)
    assert imported.n_accepted == 2
    assert [(item.index, item.reasons[0].code) for item in imported.rejected] == [
        (1, "clash"),
        (2, "disconnected"),
        (3, "unknown-element"),
        (4, "too-large"),
    ]


@pytest.mark.slow
def test_a_record_that_ends_its_child_spoils_only_itself(hard):
    # Sixty carbon atoms all bonded to each other, more bonds than V2000 can count: RDKit's reader takes minutes.
    n = 60
    atoms = "".join(f"M  V30 {i + 1} C {i % 4} {i // 4 % 4} {i // 16} 0\n" for i in range(n))
    pairs = [(i, j) for i in range(1, n + 1) for j in range(1, i)]
    bonds = "".join(f"M  V30 {k} 1 {i} {j}\n" for k, (i, j) in enumerate(pairs, start=1))
    tangle = (
        "tangle\n\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\n"
        f"M  V30 COUNTS {n} {len(pairs)} 0 0 0\nM  V30 BEGIN ATOM\n{atoms}M  V30 END ATOM\n"
        f"M  V30 BEGIN BOND\n{bonds}M  V30 END BOND\nM  V30 END CTAB\nM  END\n$$$$\n"
    )
    good = write_sdf(hard["water"])
    with Guard(timeout_seconds=3) as guard:
        imported = import_molecules(
            lines(good + tangle + good), ImportOptions("sdf", keep_disconnected=True), guard
        )
    assert imported.n_accepted == 2
    assert [(item.index, item.reasons[0].code) for item in imported.rejected] == [(1, "timeout")]


def test_numbers_become_properties_and_other_values_are_named(guard, hard):
    water = hard["water"]
    given = [
        {"gap": "1.5", "note": "wet", "rare": "1"},
        {"gap": "7"},
        {"gap": "-2e-3", "note": "wet", "rare": "1"},
    ]
    text = "".join(
        write_sdf(Structure(water.numbers, water.positions, properties=properties)) for properties in given
    )
    imported = import_molecules(lines(text), ImportOptions("sdf"), guard)
    found = next(data for data in imported.splits.values() if len(data))
    assert found.properties["gap"].tolist() == [1.5, 7.0, -0.002]
    assert imported.dropped_properties == ["rare", "note"]


def test_the_command_writes_a_data_set_and_says_what_it_did(run, hard):
    text = (
        "".join(write_sdf(hard[name]) for name in ("water", "nitro", "allene", "disconnected"))
        + "junk\n$$$$\n"
    )
    result, folder = run(text)
    assert result.exit_code == 0, result.output
    assert "3 molecules" in result.output
    assert "disconnected" in result.output and "bad-record" in result.output
    found = [item.smiles for split in SPLITS for item in load_dataset(folder, split)]
    assert sorted(found) == ["C=C=C", "C[N+](=O)[O-]", "O"]
    with (folder / "rejected.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["record"], row["code"]) for row in rows] == [("4", "disconnected"), ("5", "bad-record")]
    again, _ = run(text)
    assert again.exit_code == 2
    assert "exists" in again.output


@pytest.mark.parametrize(
    ("text", "name", "options", "said"),
    [
        ("", "mine.sdf", (), "no molecule"),
        ("junk", "mine.xyz", (), "no molecule"),
        ("CCO", "mine.txt", (), "--format"),
        ("CCO", "mine.smi", ("--name", "../../etc"), "cannot name"),
    ],
)
def test_the_command_refuses_with_advice_and_writes_nothing(run, text, name, options, said):
    result, folder = run(text, name, *options)
    assert result.exit_code == 2
    assert said in result.output
    assert not folder.exists()


def test_binary_rubbish_is_rejected_not_raised(guard):
    rubbish = bytes(range(256)).decode("utf-8", errors="replace")
    for form in ("sdf", "xyz", "smiles"):
        imported = import_molecules(lines(rubbish * 3), ImportOptions(form), guard)
        assert imported.n_accepted == 0
        assert imported.rejected


def test_the_split_of_a_molecule_without_smiles_is_by_its_formula(hard):
    from chemistry.datasets.importing import Accepted

    options = ImportOptions("xyz")
    item = Accepted(hard["water"], "")
    assert split_of(item, options) == split_of(Accepted(bare(hard["water"]), ""), options)
