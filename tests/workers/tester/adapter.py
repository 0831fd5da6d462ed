"""The adapter of the test family: row i of seed s is a known function of (s, i)."""

import hashlib
import os
import signal
import time
from pathlib import Path

from workers.adapters.base import Outcome, Row, StepProgress, Work


def fault_due(request):
    """Whether faults happen now; with `once`, only the first time, in whichever process."""
    if not request.once:
        return True
    try:
        Path(request.once).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Adapter:
    def setup(self, card, device):
        self.device = device

    def decode(self, capability, request, items):
        return Work(capability, request, tuple(items))

    def run(self, work, progress, cancelled):
        request = work.request
        if work.capability == "read":
            for item in work.items:
                yield Outcome(item, request, work.capability, len(item.record))
            return
        if request.memory_for is not None and len(work.items) > request.memory_for:
            raise MemoryError("too many for the test")
        note(request, "start", work)
        total = len(work.items) * request.steps
        done = 0
        for item in work.items:
            for _ in range(request.steps):
                if cancelled():
                    note(request, "early", work)
                    return
                time.sleep(request.step_seconds)
                done += 1
                progress(StepProgress(done, total))
            if request.kill_at == item.index and fault_due(request):
                os.kill(os.getpid(), signal.SIGKILL)
            if request.hang_at == item.index and fault_due(request):
                time.sleep(3600)
            if request.raise_at == item.index and fault_due(request):
                raise ZeroDivisionError("as told")
            yield Outcome(item, request, work.capability, number_of(item.seed, item.index))
        note(request, "end", work)

    def encode(self, outcome):
        index = outcome.item.index
        every = getattr(outcome.request, "fail_every", 0)
        valid = not (every and index % every == 0)
        data = {"valid": valid, "passed": valid, "smiles": f"C{outcome.value}", "n_atoms": outcome.value % 50}
        text = f"{outcome.value}\n"
        texts = {
            "sdf": f"sdf {index} {text}$$$$\n",
            "xyz": f"xyz {index} {text}",
            "svg": f"<svg>{text}</svg>",
        }
        return Row(index, data, **texts)

    def close(self):
        pass

    def lost(self, item, code, message):
        reasons = [{"code": code, "message": message, "atoms": []}]
        return Row(item.index, {"valid": False, "passed": False, "reasons": reasons})


def number_of(seed, index):
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:4], "big")


def note(request, what, work):
    if request.journal:
        with Path(request.journal).open("a") as file:
            file.write(f"{what} {work.items[0].index} {len(work.items)} {os.getpid()}\n")
