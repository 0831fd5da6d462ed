"""Arguments of published runs are read from JSON or from a pickle, of which nothing is ever run."""

from __future__ import annotations

import json
import os
import pickle  # only to write what strangers might send
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from models.core.errors import CheckpointError
from models.published.arguments import arguments_of_pickle, read_arguments

PLAIN: dict[str, Any] = {
    "dataset": "qm9", "nf": 256, "lr": 1e-4, "tanh": True, "resume": None, "normalize_factors": [1, 4, 10],
    "conditioning": [], "seed": 10**20, "small": -3, "nested": {"a": [1, (2, 3)], "b": ("x",)}, "none": (),
    "four": (1, 2, 3, 4), "again": "qm9",
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickled_namespace_is_read_without_unpickling_it(protocol: int) -> None:
    assert arguments_of_pickle(pickle.dumps(Namespace(**PLAIN), protocol=protocol)) == PLAIN


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    for content in (Hostile(mark), Namespace(a=Hostile(mark)), [Hostile(mark)]):
        with pytest.raises(CheckpointError, match="plain"):
            arguments_of_pickle(pickle.dumps(content, protocol=protocol))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (pickle.dumps([1, 2]), "holds a list"),
        (pickle.dumps(Path("a")), "plain"),
        (b"\x80\x04", "plain"),
        (b"\x80\x04N", "plain"),
        (b"cargparse\nNamespace\n.", "holds a"),
        (b"\x80\x04u.", "plain"),
        (b"", "plain"),
    ],
)
def test_what_is_no_namespace_is_refused_with_the_reason(content: bytes, hint: str) -> None:
    with pytest.raises(CheckpointError, match=hint):
        arguments_of_pickle(content)


def test_a_file_is_read_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text(json.dumps({"nf": 3}))
    assert read_arguments(tmp_path / "args.json") == {"nf": 3}
    (tmp_path / "args.pickle").write_bytes(pickle.dumps(Namespace(nf=4)))
    assert read_arguments(tmp_path / "args.pickle") == {"nf": 4}
    (tmp_path / "broken.json").write_text("{nf: 3}")
    with pytest.raises(CheckpointError, match="JSON"):
        read_arguments(tmp_path / "broken.json")
    (tmp_path / "large.pickle").write_bytes(b"\0" * (1 << 21))
    with pytest.raises(CheckpointError, match="1 MiB"):
        read_arguments(tmp_path / "large.pickle")
