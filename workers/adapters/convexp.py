"""Partial charges on molecular graphs: scores atom by atom, and completions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from chemistry.charges import MolecularGraph, charged_graph
from chemistry.reasons import Failure
from models.convexp.conditionals import Conditionals
from models.convexp.graphs import NUMBERS, atom_features, bond_features
from models.convexp.model import NodeDensity
from models.core.random import generator, molecule_seed
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.loading import load_weights
from workers.adapters.molecule_rows import Given, answered_row, read_for_scoring, unlike_training
from workers.adapters.molecules import Record, guarded
from workers.cards import Card
from workers.schemas.convexp import CompleteRequest, ScoreRequest

MOST_ATOMS = 200


@dataclass(frozen=True)
class Charged:
    """A molecule with its graph, and the charges of its geometry where they could be had."""

    given: Given
    graph: MolecularGraph
    charges: NDArray[np.float64] | Failure


def read_graphs(records: Sequence[Record]) -> list[Charged | Failure]:
    """In a guarded child: read the molecules, find their graphs and charges."""
    out: list[Charged | Failure] = []
    for given in read_for_scoring(records):
        found = given if isinstance(given, Failure) else charged_graph(given.structure)
        if isinstance(found, Failure) or isinstance(given, Failure):
            out.append(cast("Failure", found))
        else:
            out.append(Charged(given, *found))
    return out


class Adapter(FamilyAdapter):
    """One density on graphs, in float64 on the CPU: the molecules are small and the conditionals exact."""

    def setup(self, card: Card | None, device: str) -> None:  # noqa: ARG002
        """Load the weights."""
        card, model = load_weights(card)
        self.model = cast("NodeDensity", model).double()
        self.sizes = card.size_range or (1, MOST_ATOMS)

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """One molecule after the other."""
        request = cast("ScoreRequest | CompleteRequest", work.request)
        for done, (item, found) in enumerate(guarded(self._guard, read_graphs, work.items, cancelled), 1):
            refused = found if isinstance(found, Failure) else self._refused(found)
            given = request.charges
            if refused is None and isinstance(found, Charged) and given is not None:
                refused = mismatch(given, item.index, found)
            if isinstance(found, Failure) or refused is not None:
                yield Outcome(item, request, work.capability, refused)
                continue
            if given is None and isinstance(found.charges, Failure):
                yield Outcome(item, request, work.capability, found.charges)
                continue
            data = self._answer(item, request, found)
            yield Outcome(item, request, work.capability, (found.given, data))
            progress(StepProgress(done, len(work.items)))

    def encode(self, outcome: Outcome) -> Row:
        """The row, or the reason why there is none."""
        return answered_row(outcome.item, outcome.value)

    def _refused(self, found: Charged) -> Failure | None:
        structure = found.given.structure
        elements = self.model.config["elements"]
        atoms = tuple(
            i for i, z in enumerate(structure.numbers.tolist()) if str(z) not in elements or z not in NUMBERS
        )
        if atoms:
            symbols = ", ".join(sorted({structure.symbols[atom] for atom in atoms}))
            message = f"the model does not know {symbols}"
            return Failure.because("unknown-element", message, atoms=atoms, title=structure.title)
        if structure.n_atoms > MOST_ATOMS:
            return Failure.because("too-large", f"{structure.n_atoms} atoms; the limit is {MOST_ATOMS}")
        return None

    def _answer(self, item: Item, request: ScoreRequest | CompleteRequest, found: Charged) -> dict[str, Any]:
        batch = as_batch(found.graph)
        with torch.no_grad():
            conditionals = Conditionals(self.model.given(batch))
            own = cast("Any", found.charges) if request.charges is None else request.charges[item.index]
            values = [math.nan if value is None else float(value) for value in own]
            x = torch.tensor(values, dtype=torch.float64)
            reasons = unlike_training(found.given.structure, self.sizes)
            base = {"passed": True, "in_domain": not reasons, "seed": item.seed,
                    "reasons": [*found.given.data["reasons"], *reasons]}  # fmt: skip
            if isinstance(request, CompleteRequest):
                source = generator(molecule_seed(item.seed, item.index), "completion")
                return base | completed(conditionals, x, request.draws, source)
            return base | self._scored(conditionals, x, found, computed=request.charges is None)

    def _scored(
        self, conditionals: Conditionals, x: torch.Tensor, found: Charged, *, computed: bool
    ) -> dict[str, Any]:
        given = conditionals.given
        terms = given.contributions(x)
        alone = conditionals.leave_one_out(x)
        n = len(x)
        most = int(alone.p_value.argmin())
        swap = conditionals.best_swap(x) if n > 1 else (0, 0, 0.0)
        atoms = [
            {
                "atom": i, "symbol": found.given.structure.symbols[i], "charge": float(x[i]),
                "contribution": float(terms[i]), "conditional_log_density": float(alone.log_density[i]),
                "expected": float(alone.expected[i]), "low": float(alone.low[i]), "high": float(alone.high[i]),
                "p_value": float(alone.p_value[i]),
            }
            for i in range(n)
        ]  # fmt: skip
        total = float(terms.sum())
        return {
            "log_likelihood": total, "log_likelihood_per_atom": total / n, "kind": "exact",
            "standard_error": 0.0, "unit": "nats, density in e", "baseline": self._baseline(x, found),
            "charges_from": "electronegativity equalization" if computed else "given", "atoms": atoms,
            "most_surprising": atoms[most],
            # what chance would give the smallest of n independent p-values
            "family_p_value": -math.expm1(n * math.log1p(-min(float(alone.p_value[most]), 1 - 1e-12))),
            "best_swap": {"atoms": list(swap[:2]), "gain": swap[2]} if swap[2] > 0 else None,
        }  # fmt: skip

    def _baseline(self, x: torch.Tensor, found: Charged) -> float:
        """log p under a normal distribution of every element's charges."""
        return element_gaussian(x.numpy(), found.graph.numbers, self.model.config["elements"])


def mismatch(given: Sequence[Sequence[Any]], index: int, found: Charged) -> Failure | None:
    """Charges that do not belong to the molecule's atoms."""
    n = found.given.structure.n_atoms
    count = len(given[index]) if index < len(given) else None
    if count == n:
        return None
    told = "no list of charges" if count is None else f"{count} charges"
    message = f"molecule {index} has {n} atoms, hydrogens included, but {told} in the request"
    return Failure.because("bad-record", message, title=found.given.structure.title)


def as_batch(graph: MolecularGraph) -> Any:
    """One graph as the model reads it."""
    atoms = np.stack([graph.numbers, graph.charges, graph.rings, graph.aromatic], 1)
    ends = np.ascontiguousarray(np.concatenate([graph.bonds, graph.bonds[:, ::-1]]).T)
    orders = np.concatenate([graph.orders, graph.orders])
    return SimpleNamespace(
        atoms=atom_features(torch.from_numpy(atoms)), edge_index=torch.from_numpy(ends),
        edges=bond_features(torch.from_numpy(orders)), batch=torch.zeros(len(atoms), dtype=torch.int64),
        ptr=torch.tensor([0, len(atoms)]),
    )  # fmt: skip


def element_gaussian(
    charges: NDArray[np.float64], numbers: NDArray[np.int64], elements: dict[str, Any]
) -> float:
    """The cheap baseline: independent normal charges with every element's mean and standard deviation."""
    mean = np.array([elements[str(z)][0] for z in numbers.tolist()])
    spread = np.array([elements[str(z)][1] for z in numbers.tolist()])
    return float(
        (-0.5 * ((charges - mean) / spread) ** 2 - np.log(spread) - 0.5 * math.log(2 * math.pi)).sum()
    )


def completed(
    conditionals: Conditionals, x: torch.Tensor, draws: int, source: torch.Generator
) -> dict[str, Any]:
    """The columns of a completion."""
    missing = x.isnan()
    if not bool(missing.any()):
        return {"missing": [], "samples": [], "charges": x.tolist()}
    made = conditionals.complete(x, missing, source, draws)
    return {
        "missing": [
            {
                "atom": i,
                "median": float(made.median[i]),
                "low": float(made.low[i]),
                "high": float(made.high[i]),
            }
            for i in missing.nonzero()[:, 0].tolist()
        ],
        "charges": torch.where(missing, made.median, x).tolist(),
        "samples": made.samples.tolist(),
    }
