"""Convert and validate jobs: real RDKit in killable children under a real worker."""

import pytest

from workers.records import JobStatus
from workers.results import Results
from workers.schemas.chemistry import ConvertRequest, ValidateRequest


@pytest.fixture
def desk(calm_desk):
    return calm_desk


@pytest.fixture
def settings(calm_desk):
    return calm_desk.settings


@pytest.fixture
def convert(desk):
    def submit(**molecules):
        return desk.submit(ConvertRequest(molecules=molecules, seed=1), "convert")[0]

    return submit


WATER = "3\nwater\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"


def test_smiles_become_molecules_in_every_format(desk, convert, wait):
    job = wait(convert(smiles=["CCO ethanol", "not-a-smiles", "c1ccccc1"]).id)
    assert job.status is JobStatus.SUCCEEDED, job.problem
    rows = Results(desk.store, desk.files).page(job).rows
    assert [row["smiles"] for row in rows] == ["CCO", None, "c1ccccc1"]
    assert rows[1]["reasons"][0]["code"] == "bad-record"
    assert rows[0]["title"] == "ethanol" and rows[0]["n_atoms"] == 9
    assert desk.files.read(job.id, job.path("molecules.sdf")).count(b"$$$$") == 2
    assert desk.files.read(job.id, job.path("molecules.smi")) == b"CCO ethanol\nc1ccccc1 2\n"
    assert Results(desk.store, desk.files).text(job, 2, "svg").startswith(b"<svg")


def test_the_files_of_a_job_can_be_converted_back_to_the_same_molecules(desk, convert, wait):
    first = wait(convert(smiles=["CCO", "CC(=O)N", "C#N"]).id)
    for source in (
        {"sdf": desk.files.read(first.id, first.path("molecules.sdf")).decode()},
        {"xyz": desk.files.read(first.id, first.path("molecules.xyz")).decode()},
        {"job": first.id},
    ):
        job = wait(convert(**source).id)
        rows = Results(desk.store, desk.files).page(job).rows
        assert [row["smiles"] for row in rows] == ["CCO", "CC(N)=O", "C#N"], source.keys()


def test_a_bad_record_spoils_only_its_own_row(desk, wait):
    text = WATER + "2\ncut\nO 0 0 nan\nH 0 0 1\n" + WATER + "9\nends early\nH 0 0 0\n"
    job = wait(desk.submit(ValidateRequest(molecules={"xyz": text}), "validate")[0].id)
    assert job.status is JobStatus.SUCCEEDED
    rows = Results(desk.store, desk.files).page(job).rows
    assert [row["valid"] for row in rows] == [True, False, True, False]
    assert [row["reasons"][0]["code"] for row in rows if not row["valid"]] == ["bad-record", "bad-record"]
    assert rows[0]["smiles"] == "O" and rows[0]["stable"] is True


def test_structures_as_numbers_are_checked(desk, wait):
    methane = [
        [0, 0, 0],
        [0.63, 0.63, 0.63],
        [-0.63, -0.63, 0.63],
        [-0.63, 0.63, -0.63],
        [0.63, -0.63, -0.63],
    ]
    molecules = {"structures": [{"numbers": [6, 1, 1, 1, 1], "positions": methane}]}
    job = wait(desk.submit(ValidateRequest(molecules=molecules), "validate")[0].id)
    (row,) = Results(desk.store, desk.files).page(job).rows
    assert (row["smiles"], row["valid"], row["connected"], row["stable"]) == ("C", True, True, True)
