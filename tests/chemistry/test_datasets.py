import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chemistry.datasets import MoleculeDataset, MoleculeRecord, load_dataset, store
from chemistry.datasets.text_column import TextColumn
from chemistry.errors import DatasetError


def record(n_atoms, seed=0, **changes):
    generator = np.random.default_rng(seed)
    fields = {
        "numbers": generator.integers(1, 10, n_atoms).astype(np.uint8),
        "positions": generator.normal(size=(n_atoms, 3)) * 3 + 5,
        "properties": {"gap": float(seed)},
        "smiles": "C" * n_atoms,
        "name": f"molecule {seed}",
    }
    return MoleculeRecord(**{**fields, **changes})


@pytest.fixture
def data():
    return MoleculeDataset.of(
        [record(n, seed) for seed, n in enumerate([3, 1, 5, 3])], {"gap": "eV"}, "small"
    )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_a_text_column_is_the_list_it_was_made_from(texts):
    column = TextColumn.of(texts)
    assert list(column) == texts
    assert column[:] == texts
    assert column[::-2] == texts[::-2]
    with pytest.raises(IndexError):
        column[len(texts)]


def test_molecules_come_back_centered_with_what_belongs_to_them(data):
    assert len(data) == 4
    assert data.size_histogram() == {1: 1, 3: 2, 5: 1}
    for index, n in enumerate([3, 1, 5, 3]):
        original, found = record(n, index), data[index]
        assert found.numbers.tolist() == original.numbers.tolist()
        wanted = original.positions - original.positions.mean(axis=0)
        assert np.allclose(found.positions, wanted, atol=1e-6)
        assert (found.smiles, found.name, found.properties) == (
            original.smiles,
            original.name,
            {"gap": index},
        )
    assert data[-1].name == "molecule 3"
    assert len(list(data)) == 4
    with pytest.raises(IndexError):
        data[4]


def test_elements_and_histogram_count_every_atom(data):
    assert sum(data.element_counts().values()) == len(data.numbers) == 12
    assert data.elements == tuple(sorted(set(data.numbers.tolist())))


def test_a_subset_holds_the_molecules_asked_for_in_that_order(data):
    part = data.subset([2, 0, 2])
    assert [item.name for item in part] == ["molecule 2", "molecule 0", "molecule 2"]
    assert np.array_equal(part[1].positions, data[0].positions)
    assert part.properties["gap"].tolist() == [2.0, 0.0, 2.0]
    assert data.subset(range(len(data))).content_hash == data.content_hash
    assert len(data.subset([])) == 0


def test_the_hash_changes_with_any_content_and_not_with_the_title(data):
    same = dataclasses.replace(data, title="other title")
    assert same.content_hash == data.content_hash
    for change in ({"smiles": "N"}, {"name": "x"}, {"properties": {"gap": 7.0}}, {"positions": np.eye(3)}):
        rows = [record(3, 0, **change), *list(data)[1:]]
        assert MoleculeDataset.of(rows, {"gap": "eV"}).content_hash != data.content_hash


def test_arrays_that_do_not_fit_together_are_refused(data):
    with pytest.raises(DatasetError, match="offsets end at 12"):
        MoleculeDataset(data.numbers[:-1], data.positions, data.offsets, data.smiles, data.names)
    with pytest.raises(DatasetError, match="'smiles' has 1 rows, wanted 4"):
        MoleculeDataset(data.numbers, data.positions, data.offsets, TextColumn.of(["C"]), data.names)
    with pytest.raises(DatasetError, match="units"):
        MoleculeDataset(
            data.numbers, data.positions, data.offsets, data.smiles, data.names, units={"gap": "eV"}
        )


@pytest.fixture
def folder(tmp_path, data):
    empty = data.subset([])
    store.write(
        tmp_path / "set", "set", {"train": data, "valid": empty, "test": data.subset([1])}, {"from": "a test"}
    )
    return tmp_path / "set"


def test_what_is_written_is_mapped_back_the_same(folder, data):
    found = store.read(folder, "train", verify=True)
    assert isinstance(found.positions, np.memmap)
    assert found.content_hash == data.content_hash
    assert dict(found.units) == {"gap": "eV"}
    assert len(load_dataset(folder, "valid")) == 0
    assert [item.name for item in load_dataset(folder, "test")] == ["molecule 1"]
    with pytest.raises(ValueError, match="read-only"):
        found.positions[0] = 0


def test_the_description_tells_sizes_elements_and_hashes(folder, data):
    described = json.loads((folder / store.DESCRIPTION).read_text())
    train = described["splits"]["train"]
    assert (train["molecules"], train["atoms"]) == (4, 12)
    assert train["content_hash"] == data.content_hash
    assert train["size_histogram"] == {"1": 1, "3": 2, "5": 1}
    assert described["origin"] == {"from": "a test"}


def test_damage_is_noticed(folder):
    array = np.load(folder / "train" / "positions.npy")
    np.save(folder / "train" / "positions.npy", array + 1)
    with pytest.raises(DatasetError, match="hash"):
        store.read(folder, "train", verify=True)
    np.save(folder / "train" / "positions.npy", array[:-1])
    with pytest.raises(DatasetError, match="offsets"):
        store.read(folder, "train")
    (folder / "train" / "positions.npy").write_bytes(b"not an array")
    with pytest.raises(DatasetError, match="cannot be read"):
        store.read(folder, "train")


def test_a_folder_without_a_data_set_says_so(tmp_path, folder):
    with pytest.raises(DatasetError, match="holds no data set"):
        load_dataset(tmp_path / "nowhere", "train")
    with pytest.raises(DatasetError, match="no split 'all'"):
        store.read(folder, "all")
    (folder / store.DESCRIPTION).write_text('{"format": 99}')
    with pytest.raises(DatasetError, match="format 1"):
        store.read(folder, "train")


def test_writing_is_all_or_nothing_and_never_overwrites(tmp_path, folder, data):
    with pytest.raises(DatasetError, match="already exists"):
        store.write(folder, "set", {"train": data}, {})

    def fail(_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.write(tmp_path / "other", "other", {"train": data}, {}, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("EQUIMOL_CACHE", str(tmp_path / "here"))
    assert store.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("EQUIMOL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.cache_folder() == tmp_path / "equimol"
    for name in ("../up", "", "a/b", ".hidden"):
        with pytest.raises(DatasetError, match="cannot name"):
            store.named_folder(name)
