"""Laws of templates: what is fixed stays, gaps are as long as they may be, and every division is alike likely."""

from __future__ import annotations

import pytest

from models.strings.lengths import Lengths
from models.strings.templates import Template, divided
from models.strings.tokens import TokenError, Vocabulary

VOCABULARY = Vocabulary(["C", "O", "N", "(", ")"])
LENGTHS = Lengths({4: 90, 6: 10}, 12)


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("C?O", ((1, 1),)),
        ("C{3}", ((3, 3),)),
        ("{0-2}C", ((0, 2),)),
        ("C*O?", ((2, 5), (1, 1))),
        ("C([*:1])[*]", ((2, 5), (2, 5))),
        ("[1*]C", ((2, 5),)),
    ],
)
def test_every_way_to_write_a_gap_is_read(text: str, gaps: tuple[tuple[int, int], ...]) -> None:
    assert Template.parse(text, VOCABULARY, 12, star=(2, 5)).gaps == gaps


@pytest.mark.parametrize(
    ("text", "code", "position"),
    [
        ("CCO", "bad-token", None),
        ("C{3-1}", "bad-token", 1),
        ("CO?X", "unknown-token", 3),
        ("C{20}", "too-long", None),
        ("*" * 13, "too-long", None),
        ("{0}", "too-short", None),
    ],
)
def test_what_cannot_be_completed_says_why(text: str, code: str, position: int | None) -> None:
    with pytest.raises(TokenError) as found:
        Template.parse(text, VOCABULARY, 12)
    assert (found.value.code, found.value.position) == (code, position)


def test_an_opened_template_keeps_what_is_fixed_and_knows_its_gaps() -> None:
    template = Template.parse("C{1-3}O?", VOCABULARY, 12)
    for seed in range(20):
        one = template.open(LENGTHS, seed)
        first, last = one.gaps
        assert 1 <= len(first) <= 3 and len(last) == 1 and one == template.open(LENGTHS, seed)
        masked = one.masked(9)
        assert masked[0] == 0 and masked[first.stop] == 1 and masked.count(9) == sum(one.hidden)
        assert all(masked[k] == 9 for gap in one.gaps for k in gap)


def test_whole_lengths_are_as_usual_as_in_the_data() -> None:
    """400 draws among 4, 5 and 6 tokens; four standard errors."""
    template = Template.parse("C{1-3}O?", VOCABULARY, 12)
    sizes = [len(template.open(LENGTHS, seed).tokens) for seed in range(400)]
    assert abs(sizes.count(4) / 400 - 90.5 / 101.5) < 0.07 and sizes.count(5) / 400 < 0.03


def test_gaps_get_every_division_alike_often() -> None:
    """Three gaps of 0 to 2 tokens that hold 2 in all have 6 divisions; chi-square with 5 degrees of freedom at one
    false alarm in 100,000 (threshold 30.9)."""
    template = Template.parse("*C*C*", VOCABULARY, 12, star=(0, 2))
    found = [tuple(map(len, template.open(LENGTHS, seed).gaps)) for seed in range(6000)]
    two = [lengths for lengths in found if sum(lengths) == 2]
    kinds = sorted(set(two))
    assert len(kinds) == 6 and all(max(lengths) <= 2 for lengths in found)
    expected = len(two) / 6
    assert sum((two.count(kind) - expected) ** 2 / expected for kind in kinds) < 30.9


def test_rooms_are_never_exceeded_whatever_the_numbers() -> None:
    for u in (0.0, 0.5, 1.0):
        assert sum(chosen := divided(7, [1, 0, 5, 3], [u] * 4)) == 7
        assert all(x <= room for x, room in zip(chosen, [1, 0, 5, 3], strict=True))
