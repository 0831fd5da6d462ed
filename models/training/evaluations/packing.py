"""What general compressors make of the same data: the cheap methods beside a codec."""

from __future__ import annotations

import lzma
import shutil
import subprocess

from models.training.evaluations import Metric


def others(data: bytes) -> dict[str, int]:
    """Bytes by `xz -9` and, where the program is installed, by `zstd -19`."""
    found = {"xz": len(lzma.compress(data, preset=9))}
    if program := shutil.which("zstd"):
        done = subprocess.run([program, "-19", "-c"], input=data, capture_output=True, check=True)
        found["zstd"] = len(done.stdout)
    return found


def beside(data: bytes, own: int, items: int, suffix: str = "", **said: object) -> list[Metric]:
    """Bits an item of the others, and how many times smaller a file of `own` bytes is."""
    out: list[Metric] = []
    for name, size in others(data).items():
        bits = {"value": round(8 * size / items, 3), "unit": "bits", "n": items, "bytes": size}
        out.append({"name": f"{name}_bits{suffix}", **bits, **said})
        out.append(
            {"name": f"times_smaller_than_{name}{suffix}", "value": round(size / own, 3), "n": items, **said}
        )
    return out
