"""Ranges and conditions, as RFC 9110 has them."""

import pytest

from service.ranges import Span, UnsatisfiableRangeError, matches, parse_range
from service.routes.files import choose


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-9", Span(0, 10)),
        ("bytes=90-", Span(90, 100)),
        ("bytes=90-1000", Span(90, 100)),
        ("bytes=-7", Span(93, 100)),
        ("bytes=-700", Span(0, 100)),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=9-3", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-9", None),
        ("bytes=-", None),
        ("nonsense", None),
    ],
)
def test_one_range_is_understood_and_all_else_means_the_whole_file(header, span):
    assert parse_range(header, 100) == span


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_a_range_after_the_end_cannot_be_satisfied(header):
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, 100)


def test_conditions_compare_entity_tags_weakly():
    assert matches('"a", W/"b"', '"b"')
    assert matches("*", '"b"')
    assert not matches('"a"', '"b"')
    assert not matches(None, '"b"')


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("chemical/x-xyz", "molecules.xyz"),
        ("text/html, chemical/x-mdl-sdfile;q=0.9", "molecules.sdf"),
        ("chemical/x-xyz;q=0.1, text/csv;q=0.8", "molecules.csv"),
        ("*/*", "the default"),
        ("image/png", None),
        ("chemical/x-xyz;q=0", None),
    ],
)
def test_the_accept_header_chooses_the_file(accept, name):
    assert choose(accept, "the default") == name
