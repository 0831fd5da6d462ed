"""The adapter: molecule i of seed s is one of a few, by (s + i); every seventh has an atom too close."""

import dataclasses
import time

from chemistry.check import check
from chemistry.formats import read_structures, write_xyz
from chemistry.guard import Guard
from chemistry.reasons import Failure
from workers.adapters.base import Outcome, Row, StepProgress, Work
from workers.adapters.molecules import failure_data, guarded, lost_row, read_all, report_data

KNOWN = ("CCO", "c1ccccc1", "CC(=O)N", "C1CC1O", "N#CCO", "CC(C)=O", "OCC1CO1", "c1ccoc1", "CNC(C)=O")


class Adapter:
    def setup(self, card, device):
        self.guard = Guard(timeout_seconds=20.0)
        self.known = [next(iter(read_structures(smiles, "smiles", seed=1))) for smiles in KNOWN]

    def decode(self, capability, request, items):
        return Work(capability, request, tuple(items))

    def run(self, work, progress, cancelled):
        if work.capability == "score":
            for item, found in guarded(self.guard, read_all, work.items, cancelled):
                yield Outcome(item, work.request, "score", found)
            return
        steps = work.request.steps
        for step in range(steps):
            if cancelled():
                return
            time.sleep(work.request.step_seconds)
            progress(StepProgress((step + 1) * len(work.items), steps * len(work.items)))
        for item in work.items:
            yield Outcome(item, work.request, "sample", self._draw(item))

    def _draw(self, item):
        structure = self.known[(item.seed + item.index) % len(self.known)]
        positions = structure.positions.copy()
        if item.index % 7 == 6:
            positions[-1] = positions[0] + 0.5  # a hydrogen atom on top of the first atom
        return dataclasses.replace(structure, positions=positions, bonds=None)

    def encode(self, outcome):
        index, value, request = outcome.item.index, outcome.value, outcome.request
        if isinstance(value, Failure):
            return Row(index, failure_data(value))
        report = check(value)
        data = report_data(report) | {"passed": True}
        if outcome.capability == "score":
            data |= {"log_likelihood": -1.5 * report.n_atoms, "standard_error": 0.25, "kind": "lower_bound"}
            return Row(index, data, sdf=report.mol_block, xyz=write_xyz(value), svg=report.svg())
        filters = request.effective_filters
        data["passed"] = bool(
            (report.valid or not filters.valid) and (report.connected or not filters.connected)
        )
        frames = [
            dataclasses.replace(value, positions=value.positions * scale)
            for scale in (3.0, 2.0, 1.5, 1.2, 1.0)
        ]
        shown = frames[: request.keep_trajectory]
        return Row(
            index,
            data,
            sdf=report.mol_block,
            xyz=write_xyz(value),
            svg=report.svg(),
            trajectory="".join(write_xyz(frame) for frame in shown),
        )

    def lost(self, item, code, message):
        return lost_row(item, code, message)
