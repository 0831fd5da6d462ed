"""Counting records as text: nothing is lost, nothing is parsed, nothing can blow up."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.inputs import prepare, prepare_bytes, record_spans, records_of
from workers.problems import BadStructure, TooLarge
from workers.schemas.molecules import Molecules
from workers.settings import Settings

WATER = b"3\nwater\nO 0 0 0.1\nH 0 0.7 -0.4\nH 0 -0.7 -0.4\n"
BLOCK = b"name\n  program\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n"
LIMITS = Settings(max_molecules=5, max_input_bytes=1000)


@pytest.mark.parametrize(
    ("text", "form", "count"),
    [
        (WATER * 3, "xyz", 3),
        (b"\n\n" + WATER + b"\n" + WATER, "xyz", 2),
        (WATER.replace(b"\n", b"\r\n") * 2, "xyz", 2),
        (WATER + WATER[:-20], "xyz", 2),  # the last frame is cut
        (WATER + b"lots of nonsense\n" + WATER, "xyz", 2),  # from the nonsense on, one record
        (b"99999999999\nx\n", "xyz", 1),
        (BLOCK * 4, "sdf", 4),
        (BLOCK + b"no end", "sdf", 2),
        (BLOCK + b"\n \n", "sdf", 1),
        (b"C\n\nCC\n", "smiles", 2),
    ],
)
def test_records_are_counted_as_text(text, form, count):
    assert len(list(record_spans(text, form))) == count


@given(st.binary(max_size=300), st.sampled_from(["sdf", "xyz", "smiles", "json"]))
def test_any_bytes_can_be_cut_and_no_record_byte_is_lost_or_doubled(data, form):
    spans = list(record_spans(data, form))
    assert all(0 <= start < end <= len(data) for start, end in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    covered = {i for start, end in spans for i in range(start, end)}
    assert all(not data[i : i + 1].strip() for i in range(len(data)) if i not in covered)


@given(st.integers(1, 20), st.integers(1, 7))
def test_shards_hold_the_same_records_as_the_whole(count, size):
    data = b"".join(b"%d\nx\n" % i + b"H 0 0 0\n" * i for i in range(count))
    prepared = prepare_bytes(data, "xyz", Settings())
    whole = records_of(data, "xyz")
    parts = [
        record
        for plan in prepared.shards(size)
        for record in records_of(data[plan.byte_start : plan.byte_start + plan.byte_count], "xyz")
    ]
    assert parts == whole and len(whole) == count
    assert [plan.start for plan in prepared.shards(size)] == list(range(0, count, size))


def test_too_many_records_or_bytes_are_refused_and_none_too():
    with pytest.raises(TooLarge, match="6 molecules"):
        prepare_bytes(b"C\n" * 6, "smiles", LIMITS)
    with pytest.raises(TooLarge, match="bytes"):
        prepare_bytes(b"C" * 1001, "smiles", LIMITS)
    with pytest.raises(BadStructure):
        prepare_bytes(b" \n\n", "xyz", LIMITS)


def test_structures_become_lines():
    molecules = Molecules.model_validate(
        {"structures": [{"numbers": [1, 1], "positions": [[0, 0, 0], [0, 0, 0.74]], "title": "H2"}] * 2}
    )
    assert len(prepare(molecules, LIMITS).spans) == 2


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"sdf": "x", "xyz": "y"},
        {"job": "../../x"},
        {"smiles": ["C\nC"]},
        {"structures": [{"numbers": [1]}]},
    ],
)
def test_ambiguous_or_dangerous_sources_are_refused(given_):
    with pytest.raises(ValueError, match="validation error"):
        Molecules.model_validate(given_)
