"""The log of a run: a progress bar, a CSV file, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from torch import Tensor

    from models.training.state import Progress as RunProgress


class TrainingLog:
    """Means over windows of `every` steps, written as they come."""

    def __init__(self, folder: Path, *, total: int, every: int = 50) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.csv"
        self.every = every
        self.sums: dict[str, Tensor | float] = {}
        self.count = 0
        self.last: tuple[int, float] | None = None
        self.bar = Progress(
            TextColumn("[bold]training"), BarColumn(), MofNCompleteColumn(), TextColumn("molecules"),
            TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[status]}"),
        )  # fmt: skip
        self.task = self.bar.add_task("training", total=total, status="")
        self.board = self.tensorboard(folder)

    @staticmethod
    def tensorboard(folder: Path) -> Any | None:
        """A TensorBoard writer, or None where the package is absent: the CSV has everything."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        return SummaryWriter(str(folder / "tensorboard"))

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        if self.board is not None:
            self.board.close()

    def step(
        self, progress: RunProgress, losses: Mapping[str, Tensor | float], norm: Tensor | float, rate: float
    ) -> None:
        """Take in one optimizer step; numbers are read, which waits for a GPU, at the end of a window."""
        for name, value in {**losses, "gradient_norm": norm}.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1
        if progress.step % self.every:
            return
        means = {name: float(value) / self.count for name, value in self.sums.items()}
        speed = 0.0
        if self.last is not None:
            speed = (progress.molecules - self.last[0]) / max(progress.seconds - self.last[1], 1e-9)
        self.last = (progress.molecules, progress.seconds)
        row = {
            "step": progress.step, "molecules": progress.molecules, "seconds": round(progress.seconds, 1),
            "learning_rate": rate, "molecules_per_second": round(speed, 1), **means,
        }  # fmt: skip
        self.write(row)
        status = f"loss {means['loss']:.3f}  {speed:.0f}/s"
        self.bar.update(self.task, completed=progress.molecules, status=status)
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(name, value, progress.step)
        self.sums, self.count = {}, 0

    def write(self, row: dict[str, float]) -> None:
        """Append a row, with a header if the file is new."""
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
