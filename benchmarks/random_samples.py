"""A picture of random, not chosen, samples.

    python -m benchmarks.random_samples --out docs/figures/random_samples.png

A service of its own draws molecules 0 to 63 of seed 0; the service's own drawing shows all of them, valid or not.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.own_service import own_service
from service.cli.drawing import draw_grid
from service.client import Equimol


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="edm-qm9")
    parser.add_argument("--molecules", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with own_service() as stack, Equimol(stack.url) as service, tempfile.TemporaryDirectory() as folder:
        job = service.sample(options.model, n_molecules=options.molecules, seed=options.seed).wait(
            timeout=900
        )
        molecules = Path(folder) / "molecules.xyz"
        molecules.write_text(job.text("molecules.xyz"), encoding="utf-8")
        draw_grid(molecules, options.out)


if __name__ == "__main__":
    main()
