"""Bond lengths as unordered sets: exact scores bond by bond with percentiles, and sets of lengths to expect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from chemistry.bonds.lengths import BondLengths, measured_bonds
from chemistry.elements import symbol_of
from chemistry.reasons import Failure
from models.core.random import generator, molecule_seed
from models.survae.contract import Noise
from models.survae_conformers.alone import leave_one_out
from models.survae_conformers.model import BondLengthFlow
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.loading import load_weights
from workers.adapters.molecule_rows import Given, answered_row, read_for_scoring, unlike_training
from workers.adapters.molecules import Record, guarded
from workers.cards import Card
from workers.schemas.survae_conformers import SampleRequest, ScoreRequest

MOST_BONDS = 120
"""The work of a score grows with the cube of the number of bonds."""


@dataclass(frozen=True)
class Bonded:
    """A molecule with its bonds."""

    given: Given
    bonds: BondLengths


def read_bonds(records: Sequence[Record]) -> list[Bonded | Failure]:
    """In a guarded child: read the molecules and measure their bonds."""
    out: list[Bonded | Failure] = []
    for given in read_for_scoring(records):
        if isinstance(given, Failure):
            out.append(given)
            continue
        bonds = measured_bonds(given.structure)
        out.append(bonds if isinstance(bonds, Failure) else Bonded(given, bonds))
    return out


class Adapter(FamilyAdapter):
    """One density of bond lengths, in float64 on the CPU: sets are small and the scores exact."""

    def setup(self, card: Card | None, device: str) -> None:  # noqa: ARG002
        """Load the weights."""
        card, model = load_weights(card)
        self.model = cast("BondLengthFlow", model).double()
        self.sizes = card.size_range

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """One molecule after the other."""
        request = cast("ScoreRequest | SampleRequest", work.request)
        for done, (item, found) in enumerate(guarded(self._guard, read_bonds, work.items, cancelled), 1):
            kinds = found if isinstance(found, Failure) else self.kinds_of(found)
            if isinstance(found, Failure) or isinstance(kinds, Failure):
                yield Outcome(item, request, work.capability, kinds)
                continue
            answer = (
                self.scored(found, kinds, request)
                if isinstance(request, ScoreRequest)
                else self.drawn(found, kinds, request, item)
            )
            data = {"passed": True, "n_bonds": len(kinds), "seed": item.seed} | answer
            yield Outcome(item, request, work.capability, (found.given, data))
            progress(StepProgress(done, len(work.items)))

    def encode(self, outcome: Outcome) -> Row:
        """The row, or the reason why there is none."""
        return answered_row(outcome.item, outcome.value)

    def kinds_of(self, found: Bonded) -> list[int] | Failure:
        """The numbers of the bonds' kinds, or why the model cannot tell."""
        bonds, title = found.bonds, found.given.structure.title
        if len(bonds) > MOST_BONDS:
            message = f"{len(bonds)} bonds; the limit is {MOST_BONDS}"
            return Failure.because("too-large", message, title=title)
        known = [self.model.index.get(bonds.key(k)) for k in range(len(bonds))]
        strange = [k for k, kind in enumerate(known) if kind is None]
        if strange:
            names = ", ".join(sorted({name_of(bonds, k) for k in strange}))
            atoms = tuple(sorted({atom for k in strange for atom in bonds.atoms[k].tolist()}))
            return Failure.because(
                "unknown-bond", f"the model does not know {names}", atoms=atoms, title=title
            )
        return [kind for kind in known if kind is not None]

    def scored(self, found: Bonded, kinds: list[int], request: ScoreRequest) -> dict[str, Any]:
        """The columns of a score."""
        likelihood = self.model.score(found.bonds.lengths.tolist(), kinds)
        outside = unlike_training(found.given.structure, self.sizes)
        data: dict[str, Any] = {
            "log_likelihood": likelihood.value, "log_likelihood_per_bond": likelihood.value / len(kinds),
            "standard_error": likelihood.standard_error, "kind": likelihood.kind,
            "unit": "nats, density in Angstrom", "in_domain": not outside,
            "reasons": [*found.given.data["reasons"], *outside],
        }  # fmt: skip
        return data | self.alone(found.bonds, kinds) if request.bonds else data

    def alone(self, bonds: BondLengths, kinds: list[int]) -> dict[str, Any]:
        """Every bond given all others."""
        alone = leave_one_out(self.model, torch.from_numpy(bonds.lengths), torch.tensor(kinds))
        rows = [
            {
                "atoms": bonds.atoms[k].tolist(), "bond": name_of(bonds, k), "length": float(bonds.lengths[k]),
                "conditional_log_density": float(alone.log_density[k]), "expected": float(alone.expected[k]),
                "low": float(alone.low[k]), "high": float(alone.high[k]), "p_value": float(alone.p_value[k]),
            }
            for k in range(len(bonds))
        ]  # fmt: skip
        oddest = min(rows, key=lambda row: (row["p_value"], row["conditional_log_density"]))
        smallest = min(float(oddest["p_value"]), 1 - 1e-12)
        return {
            "bonds": rows,
            "most_surprising": oddest,
            # what chance would give the smallest of n independent p-values
            "family_p_value": -math.expm1(len(rows) * math.log1p(-smallest)),
        }

    def drawn(self, found: Bonded, kinds: list[int], request: SampleRequest, item: Item) -> dict[str, Any]:
        """The columns of drawn sets."""
        source = generator(molecule_seed(item.seed, item.index), "sample")
        sets = self.model.sample(torch.tensor(kinds).expand(request.draws, -1), Noise(source))
        bonds = [
            {"atoms": found.bonds.atoms[k].tolist(), "bond": name_of(found.bonds, k), "mean": float(column.mean())}
            for k, column in enumerate(sets.T)
        ]  # fmt: skip
        outside = unlike_training(found.given.structure, self.sizes)
        return {
            "bonds": bonds,
            "samples": [[round(length, 5) for length in row] for row in sets.tolist()],
            "in_domain": not outside,
            "reasons": [*found.given.data["reasons"], *outside],
        }


def name_of(bonds: BondLengths, bond: int) -> str:
    """A kind of bond as chemists write it: C-C, C=O, C:C (aromatic), C#N; "(ring)" where it is in one."""
    first, second, order, ring = bonds.key(bond)
    sign = {1.0: "-", 1.5: ":", 2.0: "=", 3.0: "#"}.get(order, f" {order:g} ")
    heavy, light = (second, first) if first == 1 else (first, second)
    return f"{symbol_of(heavy)}{sign}{symbol_of(light)}{' (ring)' if ring else ''}"
