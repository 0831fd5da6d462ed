"""Laws of tokens, lengths and the Transformer of strings."""

from __future__ import annotations

import math

import pytest
import torch

from models.core.errors import ConfigError, ShapeError
from models.strings.lengths import Lengths, by_length
from models.strings.selfies import selfies_of, smiles_of
from models.strings.tokens import TokenError, Vocabulary, selfies_tokens, smiles_tokens
from models.strings.transformer import Memory, Transformer, TransformerConfig
from models.training.data.strings import TokenCodes

TEXTS = [
    "CC(=O)Nc1ccc(O)cc1", "ClCCBr", "C[C@@H](N)C(=O)[O-]", "c1cc[nH]c1", "C%12CCCCC%12", "[13CH4].O", "C/C=C\\F",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_of_a_smiles_joined_are_the_smiles(text):
    assert "".join(smiles_tokens(text)) == text


@pytest.mark.parametrize("text", ["CC(=O)Nc1ccc(O)cc1", "c1cc[nH]c1", "C[C@@H](N)C(=O)O"])
def test_a_selfies_comes_back_from_its_symbols_and_writes_the_same_molecule(text):
    written = selfies_of(text)
    assert "".join(selfies_tokens(written)) == written
    assert selfies_of(smiles_of(written)) == written
    with pytest.raises(TokenError):
        smiles_of("[nonsense]")


@pytest.mark.parametrize(
    ("text", "code", "position"),
    [
        ("CC X", "bad-token", 2),
        ("C[NH", "bad-token", 1),
        ("CCP", "unknown-token", 2),
        ("", "too-short", None),
    ],
)
def test_a_string_that_is_not_understood_says_where_and_why(text, code, position):
    with pytest.raises(TokenError) as caught:
        Vocabulary(["C", "N"]).encode(text)
    assert (caught.value.code, caught.value.position) == (code, position)


def test_a_vocabulary_reads_what_it_writes_and_bounds_the_length():
    vocabulary = Vocabulary(["C", "Cl", "(", ")"])
    ids = vocabulary.encode("C(Cl)C")
    assert vocabulary.decode(ids) == "C(Cl)C" and ids == [0, 2, 1, 3, 0]
    with pytest.raises(TokenError, match="5 tokens"):
        vocabulary.encode("C(Cl)C", longest=4)
    with pytest.raises(TokenError):
        Vocabulary(["C", "C"])


def test_many_strings_at_once_are_cut_as_one_by_one():
    codes, lengths = TokenCodes(), None
    coder = codes
    found, lengths = coder.encode(TEXTS)
    tokens = [coder.token(int(code)) for code in found]
    assert lengths.tolist() == [len(smiles_tokens(text)) for text in TEXTS]
    assert tokens == [token for text in TEXTS for token in smiles_tokens(text)]


def test_lengths_are_a_density_and_are_drawn_from_it():
    """5,000 draws of five lengths; chi-square with 4 degrees of freedom, one false alarm in 100,000 (28.5)."""
    lengths = Lengths({2: 5, "4": 10}, 5)
    p = torch.tensor([math.exp(lengths.log_prob(n)) for n in range(1, 6)])
    assert float(p.sum()) == pytest.approx(1) and lengths.log_prob(6) == lengths.log_prob(0) == -math.inf
    counts = torch.bincount(torch.tensor(lengths.draw(range(5000))), minlength=6)[1:]
    assert float(((counts - 5000 * p) ** 2 / (5000 * p)).sum()) < 28.5
    assert set(lengths.draw(range(50), 3, 4)) == {3, 4}
    with pytest.raises(ConfigError, match="no length"):
        lengths.draw([0], 6)
    with pytest.raises(ConfigError):
        Lengths({7: 1}, 5)


def test_batches_hold_every_string_once_and_strings_of_one_length():
    sizes = [3, 5, 3, 3, 5, 1]
    batches = by_length(sizes, 2)
    assert sorted(k for batch in batches for k in batch) == list(range(6))
    assert all(len({sizes[k] for k in batch}) == 1 and len(batch) <= 2 for batch in batches)


def network(**changed):
    torch.manual_seed(0)
    given = {"inputs": 5, "outputs": 4, "longest": 9, "width": 16, "layers": 2, "heads": 2, "hidden": 32}
    made = Transformer(TransformerConfig.of(given | changed)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("times", [0, 2])
@pytest.mark.parametrize("causal", [False, True])
def test_a_string_alone_and_in_a_batch_gives_the_same_numbers(causal, times):
    made = network(causal=causal, times=times)
    tokens = torch.randint(0, 5, (6, 7), generator=torch.Generator().manual_seed(0))
    at = torch.rand(6, times) if times else None
    together = made(tokens, at)
    assert together.shape == (6, 7, 4)
    alone = made(tokens[2:3], None if at is None else at[2:3])
    torch.testing.assert_close(alone[0], together[2], rtol=1e-4, atol=1e-5)
    soft = made(torch.nn.functional.one_hot(tokens, 5).float(), at)
    torch.testing.assert_close(soft, together)


def test_a_causal_network_does_not_look_ahead_and_another_does():
    first, second = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 1, 2, 4]])
    causal, free = network(causal=True), network()
    assert torch.allclose(causal(first)[0, :3], causal(second)[0, :3], atol=1e-6)
    assert not torch.allclose(free(first)[0, :3], free(second)[0, :3], atol=1e-3)


@pytest.mark.parametrize("given", [{}, {"ends": True}, {"times": 1}, {"counts": False}])
def test_a_causal_network_with_a_memory_says_what_it_says_without(given):
    made = network(causal=True, **given)
    tokens = torch.randint(0, 5, (3, 8), generator=torch.Generator().manual_seed(1))
    at = torch.rand(3, 1) if "times" in given else None
    together, memory = made(tokens, at), Memory()
    pieces = [made(tokens[:, :end], at, whole=8, memory=memory) for end in (1, 2, 5, 6, 8)]
    assert [piece.shape[1] for piece in pieces] == [1, 1, 3, 1, 2]
    torch.testing.assert_close(torch.cat(pieces, 1), together, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_a_network_is_refused():
    with pytest.raises(ConfigError, match="memory"):
        network()(torch.zeros(1, 4, dtype=torch.long), memory=Memory())
    with pytest.raises(ShapeError, match="1 to 9"):
        network()(torch.zeros(1, 10, dtype=torch.long))
    with pytest.raises(ShapeError, match="times"):
        network(times=1)(torch.zeros(1, 4, dtype=torch.long))
    with pytest.raises(ConfigError, match="multiple"):
        TransformerConfig(5, 5, 5, width=10, heads=3)
    with pytest.raises(ConfigError, match="colour"):
        TransformerConfig.of({"colour": 1})
