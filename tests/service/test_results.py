"""Results over HTTP: the table of molecules, single molecules, files in pieces and in every format."""

import base64
import hashlib
import io
import zipfile

import pytest


def test_the_table_has_a_row_per_molecule_with_validity_and_reasons(http, finished):
    rows = http.get(finished["links"]["molecules"]).json()["items"]
    assert [row["index"] for row in rows] == list(range(20))
    assert [row["index"] for row in rows if not row["valid"]] == [6, 13]
    for row in rows:
        assert row["formula"]
        assert row["n_atoms"] > 0
        if not row["valid"]:
            assert row["reasons"]
            assert all(reason["code"] and reason["message"] for reason in row["reasons"])


def test_the_table_is_paged_filtered_and_sorted(http, finished):
    table = finished["links"]["molecules"]
    url, seen = f"{table}?limit=7", []
    while url:
        page = http.get(url)
        seen += [row["index"] for row in page.json()["items"]]
        url = page.links.get("next", {}).get("url")
    assert seen == list(range(20))
    assert [row["index"] for row in http.get(f"{table}?valid=false").json()["items"]] == [6, 13]
    sizes = [row["n_atoms"] for row in http.get(f"{table}?sort=-n_atoms&min_atoms=8").json()["items"]]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) >= 8


def test_every_molecule_has_its_own_addresses(http, finished):
    row = http.get(f"{finished['links']['molecules']}/3").json()
    assert row["index"] == 3
    kinds = {"sdf": "chemical/x-mdl-sdfile", "xyz": "chemical/x-xyz", "svg": "image/svg+xml"}
    for kind, media_type in kinds.items():
        answer = http.get(row["links"][kind])
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media_type)
    assert http.get(row["links"]["sdf"]).text.rstrip().endswith("$$$$")
    assert http.get(row["links"]["xyz"]).text.splitlines()[0] == str(row["n_atoms"])
    assert "<script" not in http.get(row["links"]["svg"]).text


def test_a_trajectory_has_as_many_frames_as_were_kept(http, finished):
    row = http.get(f"{finished['links']['molecules']}/0").json()
    text = http.get(f"{finished['links']['molecules']}/0/trajectory.xyz").text
    assert len(text.splitlines()) == 5 * (row["n_atoms"] + 2)


@pytest.mark.parametrize("place", ["/20", "/20.sdf", "/0.pdb", "/-1", "/x"])
def test_what_is_not_there_is_not_found_or_not_valid(http, finished, place):
    answer = http.get(finished["links"]["molecules"] + place)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_files_are_listed_with_size_and_hash_that_are_true(http, finished):
    names = {file["name"] for file in finished["files"]}
    assert names >= {"molecules.sdf", "molecules.xyz", "molecules.csv", "molecules.smi", "manifest.json"}
    for file in finished["files"]:
        data = http.get(file["href"]).content
        assert len(data) == file["bytes"]
        assert hashlib.sha256(data).hexdigest() == file["sha256"]


def test_a_file_comes_in_pieces_that_make_up_the_whole(http, finished):
    address = f"{finished['links']['self']}/files/molecules.xyz"
    whole = http.get(address)
    assert whole.headers["accept-ranges"] == "bytes"
    first = http.get(address, headers={"Range": "bytes=0-99"})
    rest = http.get(address, headers={"Range": "bytes=100-"})
    assert (first.status_code, rest.status_code) == (206, 206)
    assert first.headers["content-range"] == f"bytes 0-99/{len(whole.content)}"
    assert first.content + rest.content == whole.content
    outside = http.get(address, headers={"Range": "bytes=99999999-"})
    assert outside.status_code == 416
    assert outside.headers["content-range"] == f"bytes */{len(whole.content)}"
    assert outside.json()["type"] == "/problems/range-not-satisfiable"


def test_a_piece_is_given_only_of_the_same_file(http, finished):
    address = f"{finished['links']['self']}/files/molecules.xyz"
    tag = http.get(address).headers["etag"]
    same = http.get(address, headers={"Range": "bytes=0-9", "If-Range": tag})
    other = http.get(address, headers={"Range": "bytes=0-9", "If-Range": '"older"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_an_unchanged_file_is_not_sent_again(http, finished):
    address = f"{finished['links']['self']}/files/molecules.sdf"
    first = http.get(address)
    again = http.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    digest = base64.b64encode(hashlib.sha256(first.content).digest()).decode()
    assert first.headers["repr-digest"] == f"sha-256=:{digest}:"


def test_head_tells_the_size_without_the_body(http, finished):
    address = f"{finished['links']['self']}/files/molecules.sdf"
    head = http.head(address)
    assert head.status_code == 200
    assert head.content == b""
    assert int(head.headers["content-length"]) == len(http.get(address).content)


@pytest.mark.parametrize(
    ("accept", "begins"),
    [
        ("chemical/x-xyz", "molecules.xyz"),
        ("chemical/x-mdl-sdfile", "molecules.sdf"),
        ("text/csv", "molecules.csv"),
    ],
)
def test_the_result_comes_in_the_format_accepted(http, finished, accept, begins):
    answer = http.get(finished["links"]["result"], headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(accept)
    assert answer.headers["content-location"].endswith(begins)
    assert "accept" in answer.headers["vary"].lower()


def test_a_format_that_does_not_exist_is_not_acceptable(http, finished):
    answer = http.get(finished["links"]["result"], headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert "chemical/x-xyz" in answer.json()["detail"]


def test_the_archive_has_every_file(http, finished):
    data = http.get(f"{finished['links']['self']}/files/all.zip").content
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert set(archive.namelist()) == {file["name"] for file in finished["files"]}
        assert archive.testzip() is None


def test_the_manifest_says_what_made_the_result(http, finished):
    manifest = http.get(finished["links"]["manifest"]).json()
    assert manifest["seed"] == finished["seed"]
    assert manifest["request"]["n_molecules"] == 20
    assert {file["name"] for file in manifest["files"]} >= {"molecules.sdf", "molecules.xyz"}
