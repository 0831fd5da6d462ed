"""The command as a user calls it: output, files, exit codes."""

import json
import zipfile

import pytest


def test_sample_saves_what_the_suffix_says(equimol, tmp_path):
    done = equimol("sample", "toy-molecules", "-n", "4", "--seed", "1", "-o", "x.sdf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.sdf").read_text().count("$$$$") == 4
    assert "4 of 4 molecules are in x.sdf (seed 1" in done.stderr
    assert done.stdout == ""


def test_sample_without_a_file_shows_a_table(equimol):
    done = equimol("sample", "toy-molecules", "-n", "2", "--atoms", "9-20", "--set", "labels.who=me")
    assert done.returncode == 0, done.stderr
    assert "SMILES" in done.stdout
    assert "equimol jobs save" in done.stderr


def test_score_reads_files_and_writes_scores(equimol, tmp_path):
    (tmp_path / "in.smi").write_text("CCO\nc1ccccc1\n")
    done = equimol("score", "toy-molecules", "in.smi", "--draws", "4", "-o", "scores.csv")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert "log_likelihood" in lines[0]
    assert len(lines) == 3


def test_convert_and_validate(equimol, tmp_path):
    (tmp_path / "in.smi").write_text("CCO\n")
    assert equimol("convert", "in.smi", "out.xyz").returncode == 0
    assert (tmp_path / "out.xyz").read_text().splitlines()[0] == "9"
    assert equimol("validate", "out.xyz", "--strict").returncode == 0
    (tmp_path / "bad.smi").write_text("CCO\nC(C)(C)(C)(C)C\n")
    assert equimol("validate", "bad.smi").returncode == 0
    bad = equimol("validate", "bad.smi", "--strict")
    assert bad.returncode == 1
    assert "not all molecules are valid" in bad.stderr


def test_jobs_are_shown_saved_canceled_and_deleted(equimol, tmp_path):
    detached = equimol("sample", "toy-molecules", "-n", "1", "--detach")
    job = detached.stdout.strip()
    assert len(job) == 26
    assert equimol("jobs", "watch", job).returncode == 0
    assert job in equimol("jobs", "list", fresh=True, COLUMNS="80").stdout
    assert json.loads(equimol("jobs", "show", job, "--json").stdout)["status"] == "succeeded"
    assert equimol("jobs", "save", job, "all.zip").returncode == 0
    assert zipfile.is_zipfile(tmp_path / "all.zip")
    assert equimol("jobs", "cancel", job).returncode == 0
    assert equimol("jobs", "delete", job).returncode == 0
    gone = equimol("jobs", "show", job)
    assert gone.returncode == 1
    assert f"there is no job '{job}'" in gone.stderr


def test_a_job_is_replayed_from_its_archive_and_compared(equimol, tmp_path):
    (tmp_path / "in.smi").write_text("CCO\nCC\n")
    equimol("score", "toy-molecules", "in.smi", "--seed", "4", "-o", "first.zip")
    same = equimol("replay", "first.zip")
    assert same.returncode == 0, same.stderr + same.stdout
    assert "the same as job" in same.stderr

    with zipfile.ZipFile(tmp_path / "first.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
    for file in manifest["files"]:
        file["sha256"] = "0" * 64
    (tmp_path / "changed.json").write_text(json.dumps(manifest))
    differs = equimol("replay", "changed.json", "--input", "in.smi")
    assert differs.returncode == 1
    assert "the results differ" in differs.stderr


def test_models_are_listed_and_shown(equimol):
    assert "toy-molecules" in equimol("models").stdout
    shown = equimol("models", "toy-molecules").stdout
    assert "Well-known molecules" in shown and "n_molecules" in shown
    assert json.loads(equimol("models", "toy-molecules", "--json").stdout)["parameters"]["sample"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("sample", "nothing"), 1, "there is no model 'nothing'"),
        (("sample", "toy-molecules", "--set", "n_molecule=3"), 1, "did you mean 'n_molecules'"),
        (("sample", "toy-molecules", "-o", "x.pdb"), 2, "its suffix should be one of"),
        (("sample", "toy-molecules", "-o", "nowhere/x.sdf"), 2, "there is no folder nowhere"),
        (("sample", "toy-molecules", "--atoms", "few"), 2, "wanted data, 18, 9-20"),
        (("score", "toy-molecules", "missing.sdf"), 2, "there is no file missing.sdf"),
        (("sampel",), 2, "sample"),
        (("sample",), 2, "Missing argument"),
        (("replay", "/etc/hostname"), 2, "is not a manifest"),
    ],
)
def test_errors_are_one_clear_line_and_a_code(equimol, arguments, code, message):
    done = equimol(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_no_service_is_an_exit_code_of_its_own_with_advice(equimol):
    done = equimol("models", url="http://127.0.0.1:9", fresh=True)
    assert done.returncode == 3
    assert "equimol serve" in done.stderr


def test_keys_are_created_listed_and_revoked(equimol, tmp_path):
    made = equimol("keys", "create", "alice", "--scope", "read", "--file", "keys.json")
    token = made.stdout.strip()
    assert token.startswith("eqm_")
    assert token not in (tmp_path / "keys.json").read_text()
    identity = token.split("_")[1]
    assert identity in equimol("keys", "list", "--file", "keys.json").stdout
    assert equimol("keys", "revoke", identity, "--file", "keys.json").returncode == 0
    assert equimol("keys", "revoke", identity, "--file", "keys.json").returncode == 1


def test_a_second_service_on_the_same_folder_is_refused(equimol):
    done = equimol("serve", "--port", "0")
    assert done.returncode == 1
    assert "a service is already running at http://127.0.0.1:" in done.stderr


def test_a_taken_port_is_named(equimol, service, tmp_path):
    port = service.url.rpartition(":")[2]
    done = equimol("serve", "--port", port, EQUIMOL_DATA_FOLDER=str(tmp_path / "other"))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
