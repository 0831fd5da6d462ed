"""What is wrong with a request is said with a pointer, in plain words, with a hint."""

import pytest

from service.validation import parse_json, parse_model, real_path
from workers.problems import Validation
from workers.schemas.edm import SampleRequest, ScoreRequest


def faults(kind, body):
    with pytest.raises(Validation) as caught:
        parse_model(kind, parse_json(body))
    return {error["pointer"]: error for error in caught.value.extensions["errors"]}


def test_a_misspelt_field_is_pointed_at_with_the_right_spelling():
    assert faults(SampleRequest, b'{"n_molecule": 3}')["/n_molecule"]["hint"] == "did you mean 'n_molecules'?"
    nested = faults(SampleRequest, b'{"filters": {"vaild": true}}')
    assert nested["/filters/vaild"]["hint"] == "did you mean 'valid'?"


def test_every_fault_of_a_request_is_told_at_once():
    found = faults(SampleRequest, b'{"steps": "many", "n_molecules": 0, "seed": -1}')
    assert set(found) == {"/steps", "/n_molecules", "/seed"}


def test_a_union_gives_one_fault_for_one_place():
    assert list(faults(SampleRequest, b'{"n_atoms": "some"}')) == ["/n_atoms"]
    ordered = faults(SampleRequest, b'{"n_atoms": {"min": 4, "max": 2}}')
    assert ordered["/n_atoms"]["detail"] == "min (4) is larger than max (2)"


def test_pointers_lead_into_lists():
    body = b'{"molecules": {"structures": [{"numbers": [1], "positions": [[0, 0, "x"]]}]}}'
    assert list(faults(ScoreRequest, body)) == ["/molecules/structures/0/positions/0/2"]


def test_pointers_escape_what_json_pointers_escape():
    assert list(faults(SampleRequest, b'{"a/b~c": 1}')) == ["/a~1b~0c"]


def test_the_names_of_union_branches_are_not_part_of_a_pointer():
    assert real_path(("n_atoms", "constrained-int"), {"n_atoms": "x"}, missing=False) == ["n_atoms"]
    assert real_path(("a", "b"), {"a": {}}, missing=True) == ["a", "b"]


@pytest.mark.parametrize(
    "body", [b"{", b'{"seed": NaN}', b'{"seed": Infinity}', b"[" * 300 + b"]" * 300, b"\xff"]
)
def test_broken_json_numbers_that_are_none_and_deep_nesting_are_refused(body):
    with pytest.raises(Validation, match="not JSON this service accepts"):
        parse_json(body)
