"""Laws of n-grams: densities over whole strings, better with data, equal to counts by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from models.core.errors import ConfigError
from models.strings.ngrams import NGrams
from models.strings.tokens import Vocabulary
from models.training.data.strings import StringData

TEXTS = ["CN", "CNC", "NCC", "CCN", "C"]


def grams(order):
    data = StringData.of(TEXTS, Vocabulary(["C", "N"]))
    return NGrams(data.ids, data.offsets, 2, order)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_n_gram_sums_to_one_over_all_strings(order):
    """The empty string too; what strings of more than 14 tokens take is the rest, found from the 14th power."""
    found = grams(order)
    total = 0.0
    for n in range(15):
        strings = list(itertools.product([0, 1], repeat=n))
        total += float(np.exp(found.log_prob(strings)).sum())
    assert 0.99 < total < 1 + 1e-9


def test_a_bigram_is_what_counting_by_hand_gives():
    found = grams(2)
    unigram = {0: 8, 1: 4, 2: 5}  # C, N, end
    p1 = {k: (c + 3 * (1 / 3)) / (17 + 3) for k, c in unigram.items()}
    after_start = {0: 4, 1: 1}
    p_c = (after_start[0] + 2 * p1[0]) / (5 + 2)
    counts = {0: 0, 1: 0, 2: 0}
    for text in TEXTS:
        for a, b in itertools.pairwise([*text, "$"]):
            if a == "C":
                counts["CN$".index(b)] += 1
    p_end = (counts[2] + 3 * p1[2]) / (sum(counts.values()) + 3)
    assert found.log_prob([[0]])[0] == pytest.approx(math.log(p_c * p_end))


def test_the_strings_counted_are_likelier_under_a_longer_memory():
    data = StringData.of(TEXTS, Vocabulary(["C", "N"]))
    strings = [data[k] for k in range(len(data))]
    means = [grams(3).log_prob(strings, order).mean() for order in (1, 2, 3)]
    assert means[0] < means[1] < means[2]
    assert np.array_equal(grams(3).log_prob(strings, 2), grams(2).log_prob(strings))


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="dense"):
        NGrams(np.zeros(1, np.uint8), np.array([0, 1]), 100, 5)
    with pytest.raises(ConfigError, match="counted"):
        grams(2).log_prob([[0]], 3)
