"""Laws of the codec: lossless, small, the same bits whatever the threads and the batch, damage found."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.ardm.codec import Codec
from models.ardm.integer import IntegerTwin
from models.ardm.model import ARDM
from models.core.errors import ConfigError
from models.core.integer import EXACT, IntegerLinear
from models.core.library_file import Block, Library, LibraryError, check_model, read, write
from models.strings.transformer import Memory

TOKENS = ["c", "C", "(", ")", "1", "O", "N", "="]


def model_of(seed=0, longest=40, order="any"):
    torch.manual_seed(seed)
    network = {"width": 32, "layers": 2, "heads": 2, "hidden": 64, "ends": order == "left-to-right"}
    config = {
        "tokens": TOKENS, "longest": longest, "lengths": {str(n): n for n in range(5, 31)}, "order": order,
        "network": network,
    }  # fmt: skip
    model = ARDM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def some_strings(count, seed=0):
    source = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 31, (count,), generator=source).tolist()
    return [torch.randint(0, len(TOKENS), (n,), generator=source).tolist() for n in sizes]


def codec_of(order="left-to-right", steps=0, **model):
    """A codec of a model of any order in the given one, or, for None, of a left-to-right model."""
    if order is None:
        return Codec(model_of(order="left-to-right", **model))
    return Codec(model_of(**model), order=order, steps=steps)


CODINGS = [(order, steps) for order in ("left-to-right", "right-to-left", "random") for steps in (0, 5)]


@pytest.mark.parametrize(("order", "steps"), [*CODINGS, (None, 0)])
def test_what_is_decoded_is_what_was_encoded(order, steps):
    codec = codec_of(order, steps)
    groups = [some_strings(7, seed=1), [], [[]], [*some_strings(1, seed=2), []]]
    blocks = [codec.encode(group)[0] for group in groups]
    assert codec.decode(blocks) == groups
    assert codec.decode([blocks[3]]) == [groups[3]]  # a block needs no other


@pytest.mark.parametrize("order", ["random", None])
def test_a_code_is_as_long_as_the_model_says_but_for_the_coder_s_last_word(order):
    codec = codec_of(order)
    block, bits = codec.encode(some_strings(64))
    assert sum(bits) - 1 <= 8 * len(block.code) <= sum(bits) * 1.001 + 64


def test_the_integer_network_stays_close_to_the_one_that_was_trained():
    model = model_of()
    tokens = torch.tensor(some_strings(1)[:1] * 3)
    tokens[:, ::2] = model.mask
    found = IntegerTwin(model).frequencies(tokens)
    hidden = tokens == model.mask
    told = model.log_predictions(tokens)[hidden].exp()
    assert (found / found.sum(-1, keepdim=True))[hidden].sub(told).abs().max() < 0.03
    assert found.min() >= 1 and torch.equal(found, found.round())


def test_the_integer_network_of_a_left_to_right_model_says_with_a_memory_what_it_says_without():
    """To the bit: the sender sees whole strings, the receiver only what has been decoded."""
    model = model_of(order="left-to-right")
    twin = IntegerTwin(model)
    tokens = torch.randint(0, len(TOKENS), (9, 17), generator=torch.Generator().manual_seed(0))
    shown, memory = model.before(tokens), Memory()
    together = twin.frequencies(shown)
    found = [
        twin.frequencies(shown[: 9 - end // 3, :end], whole=torch.full((9 - end // 3,), 17), memory=memory)
        for end in range(1, 18)
    ]
    assert all(torch.equal(one[:, 0], together[: len(one), place]) for place, one in enumerate(found))
    told = model.next_log_predictions(tokens).exp()
    assert (together / together.sum(-1, keepdim=True)).sub(told).abs().max() < 0.03


def test_strings_of_many_blocks_are_decoded_in_groups_and_a_stop_ends_it():
    codec = codec_of(None)
    strings = some_strings(600)
    blocks = [codec.encode(strings[k : k + 100])[0] for k in range(0, 600, 100)]
    assert [ids for block in codec.decode(blocks) for ids in block] == strings
    assert codec.decode(blocks, stopped=lambda: True) == []
    with pytest.raises(ConfigError, match="from left to right"):
        Codec(codec.model, order="random")


def test_a_string_s_probabilities_do_not_depend_on_its_batch():
    twin = IntegerTwin(model_of())
    tokens = torch.randint(0, len(TOKENS) + 1, (33, 17), generator=torch.Generator().manual_seed(0))
    together = twin.frequencies(tokens)
    assert all(torch.equal(twin.frequencies(tokens[k : k + 1])[0], together[k]) for k in range(33))
    assert torch.equal(twin.frequencies(tokens[5:16]), together[5:16])


def test_sums_of_the_integer_network_are_exact_in_any_order():
    layer = torch.nn.Linear(512, 8, bias=False)
    integer = IntegerLinear(layer)
    x = torch.randint(-127, 128, (9, 512), generator=torch.Generator().manual_seed(0)).float()
    exact = x.long() @ integer.weight.long().T
    shuffled = torch.randperm(512, generator=torch.Generator().manual_seed(1))
    for columns in (torch.arange(512), shuffled):
        assert torch.equal((x[:, columns] @ integer.weight[:, columns].T).long(), exact)
    assert EXACT > 127 * 127 * 512
    with pytest.raises(ConfigError, match="too wide"):
        IntegerLinear(torch.nn.Linear(2000, 8))


def test_a_model_with_a_hierarchy_has_no_codec_and_says_so():
    config = {"tokens": TOKENS, "longest": 8, "lengths": {"3": 1}, "hierarchy": "chemical"}
    with pytest.raises(ConfigError, match="hierarchy"):
        Codec(ARDM(config | {"network": {"width": 16, "layers": 1, "heads": 2, "hidden": 32}}))


HASH = """
import hashlib, sys, torch
sys.path.insert(0, {here!r})
torch.set_num_threads({threads})
from test_ardm_codec import codec_of, some_strings
codec = codec_of({order!r})
strings = some_strings({count})
blocks = [codec.encode(strings[k:k + 50])[0] for k in range(0, len(strings), 50)]
assert [s for block in codec.decode(blocks) for s in block] == strings
print(hashlib.sha256(b"".join(block.code for block in blocks)).hexdigest())
"""


def codes_with(threads, count, order="random"):
    text = HASH.format(here=str(Path(__file__).parent), threads=threads, count=count, order=order)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("order", ["random", None])
def test_one_thread_and_four_write_the_same_bytes_and_read_each_other_s(order):
    here = codec_of(order).encode(some_strings(50))[0].code
    assert codes_with(1, 50, order) == codes_with(4, 50, order) == hashlib.sha256(here).hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(1700)  # minutes of one core, and another test may have the other half
@pytest.mark.parametrize("order", ["random", None])
def test_ten_thousand_molecules_survive_on_two_differently_sized_thread_pools(order):
    assert codes_with(1, 10_000, order) == codes_with(2, 10_000, order)


def test_a_library_comes_back_from_its_file_and_every_molecule_is_found():
    blocks = (Block(3, b"abcd"), Block(1, b""), Block(200, b"12345678"))
    library = Library("ab" * 32, "random", 12, blocks, {2: "[Fe]"}, {0: "first"})
    assert read(write(library)) == library
    assert library.molecules == 204 and library.starts() == [0, 3, 4]
    assert [library.place(n) for n in (0, 2, 3, 4, 203)] == [(0, 0), (0, 2), (1, 0), (2, 0), (2, 199)]
    with pytest.raises(IndexError):
        library.place(204)
    empty = Library("00" * 32, "left-to-right", 0, ())
    assert read(write(empty)) == empty


def test_any_altered_byte_and_any_cut_is_found():
    data = write(Library("ab" * 32, "random", 0, (Block(2, b"abcdefgh"),), {}, {1: "title"}))
    for place in range(40, len(data)):
        with pytest.raises(LibraryError):
            read(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    for end in (0, 5, 8, 72, 80, len(data) - 1):
        with pytest.raises(LibraryError):
            read(data[:end])
    for place in range(8, 40):  # the model's hash is checked against the model
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(LibraryError, match="weights"):
            check_model(read(changed), "ab" * 32)
