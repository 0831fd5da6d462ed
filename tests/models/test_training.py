"""The training loop: resumable to the last bit, stoppable, the same on one process or two."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from models.core.errors import CheckpointError, ConfigError, DivergedError
from models.edm.model import EDM
from models.training.data.buckets import SizeBuckets
from models.training.data.molecules import MoleculeData
from models.training.loop import PATIENCE, Run, learning_rate, train
from models.training.recipe import Optimizer, Recipe, load_recipe
from models.training.state import Average


def small_data(count: int = 60, seed: int = 0) -> Any:
    """Random small molecules in the layout of a data set."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([3, 4, 6], count)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return SimpleNamespace(
        numbers=rng.choice([1, 6, 7, 8], offsets[-1]).astype(np.uint8),
        positions=rng.normal(size=(offsets[-1], 3)).astype(np.float32),
        offsets=offsets,
        sizes=sizes,
    )


class Few(SimpleNamespace):
    """The same with a length."""

    def __len__(self) -> int:
        return len(self.sizes)


def Molecules(seed: int = 0) -> Any:  # noqa: N802 - stands for a class of data
    """Small molecules as the training loop draws them."""
    return MoleculeData(Few(**vars(small_data(seed=seed))))  # type: ignore[arg-type]


RECIPE = Recipe(
    name="small", family="edm", data="none", molecules=160, batch=16, bucket=8, ema=0.9, compile=False,
    optimizer=Optimizer(warmup=32, cooldown=64),
)  # fmt: skip


def weights_of(model: EDM) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    make_edm: Callable[..., EDM], tmp_path: Path, optimizer: str
) -> None:
    recipe = replace(RECIPE, optimizer=replace(RECIPE.optimizer, kind=optimizer))
    whole = make_edm()
    train(recipe, whole, Molecules(), Run(tmp_path / "whole"))

    def stop_soon(progress: Any, *_: Any) -> None:
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    first = make_edm()
    run = Run(tmp_path / "parts", checkpoint_every=0.0)
    reached = train(recipe, first, Molecules(), run, after_checkpoint=stop_soon)
    assert 4 <= reached.step < 10
    second = make_edm()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(1.0)  # whatever was there before is replaced
    done = train(recipe, second, Molecules(), replace(run, resume=True))
    assert (done.step, done.molecules, done.buckets) == (10, 160, 20)
    assert same(weights_of(whole), weights_of(second))
    assert not same(weights_of(whole), weights_of(first))


def test_sigterm_saves_and_leaves(make_edm: Callable[..., EDM], tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    progress = train(replace(RECIPE, molecules=10**9), make_edm(), Molecules(), Run(tmp_path))
    timer.join()
    assert 0 < progress.molecules < 10**9
    assert (tmp_path / "checkpoint.safetensors").is_file()
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_time_limit_ends_a_run(make_edm: Callable[..., EDM], tmp_path: Path) -> None:
    progress = train(replace(RECIPE, molecules=10**9), make_edm(), Molecules(), Run(tmp_path, time_limit=0.5))
    assert 0.5 <= progress.seconds < 60
    assert (tmp_path / "checkpoint.safetensors").is_file()


def test_training_lowers_the_loss_and_writes_its_log(make_edm: Callable[..., EDM], tmp_path: Path) -> None:
    data = Molecules()  # one rigid molecule, many times: there is something to learn
    few: Any = data.molecules
    few.sizes, few.offsets = np.full(60, 4), np.arange(0, 241, 4)
    few.numbers = np.tile(np.array([6, 1, 1, 8], dtype=np.uint8), 60)
    corners = [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.5, -1.5, 1.5]]
    few.positions = np.tile(np.array(corners, dtype=np.float32), (60, 1))
    recipe = replace(RECIPE, molecules=16 * 100, ema=0.0, optimizer=Optimizer(learning_rate=3e-3, warmup=1))
    train(recipe, make_edm(), data, Run(tmp_path))
    with (tmp_path / "log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [50, 100]
    assert {"loss", "position", "element", "gradient_norm", "learning_rate"} <= rows[0].keys()
    assert float(rows[-1]["loss"]) < 0.96 * float(rows[0]["loss"])


def test_a_checkpoint_of_another_network_is_refused(make_edm: Callable[..., EDM], tmp_path: Path) -> None:
    train(replace(RECIPE, molecules=16), make_edm(), Molecules(), Run(tmp_path))
    for change in ({"layers": 3}, {"layers": 1}, {"width": 24}):
        network = {"width": 16, "message_width": 8, "layers": 2, "radial": 6, **change}
        with pytest.raises(CheckpointError, match="another network"):
            train(RECIPE, make_edm(network=network), Molecules(), Run(tmp_path, resume=True))


@pytest.mark.parametrize(("patience", "step"), [(1, 2), (50, 10)])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(
    make_edm: Callable[..., EDM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, step: int
) -> None:
    monkeypatch.setitem(PATIENCE, "cpu", patience)  # a GPU is asked rarely, and before every checkpoint
    train(replace(RECIPE, molecules=32), make_edm(), Molecules(), Run(tmp_path))
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()
    data = Molecules()
    data.molecules.positions[:] = np.nan
    with pytest.raises(DivergedError, match=f"step {step}"):
        train(RECIPE, make_edm(), data, Run(tmp_path, resume=True))
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept


def test_buckets_hold_one_size_and_every_molecule_once_an_epoch() -> None:
    sizes = small_data(101).sizes
    buckets = SizeBuckets(sizes, 8, seed=3)
    epoch = list(islice(buckets, buckets.per_epoch))
    assert sorted(k for bucket in epoch for k in bucket) == list(range(101))
    assert all(len(set(sizes[bucket])) == 1 and len(bucket) <= 8 for bucket in epoch)
    following = list(islice(iter(SizeBuckets(sizes, 8, seed=3, start=buckets.per_epoch)), 3))
    assert following != epoch[:3]


def test_a_batch_holds_its_molecules_in_order() -> None:
    data = Molecules()
    rows = np.flatnonzero(data.molecules.sizes == 4)[[2, 0, 1]].tolist()
    batch = data.batch(rows)
    assert batch.num_graphs == 3 and batch.ptr.tolist() == [0, 4, 8, 12]
    for k, row in enumerate(rows):
        atoms = slice(int(data.molecules.offsets[row]), int(data.molecules.offsets[row + 1]))
        graph = batch.batch == k
        assert batch.z[graph].tolist() == data.molecules.numbers[atoms].tolist()
        assert batch.pos[graph].numpy().tolist() == data.molecules.positions[atoms].tolist()


@pytest.mark.parametrize("start", [0, 1, 7, 40])
def test_buckets_can_be_entered_anywhere(start: int) -> None:
    sizes = small_data(101).sizes
    whole = list(islice(SizeBuckets(sizes, 8, seed=3), 60))
    assert list(islice(SizeBuckets(sizes, 8, seed=3, start=start), 10)) == whole[start : start + 10]


def test_processes_share_the_buckets_out() -> None:
    sizes = small_data(101).sizes
    whole = list(islice(SizeBuckets(sizes, 8, seed=3), 40))
    parts = [list(islice(SizeBuckets(sizes, 8, seed=3, process=p, processes=2), 20)) for p in range(2)]
    assert [bucket for pair in zip(*parts, strict=True) for bucket in pair] == whole


def test_the_average_forgets_its_start() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    average = Average(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(3.0)
    for step in range(1, 200):
        average.update(module, step)
    assert float(average.values["weight"]) == pytest.approx(3.0, abs=1e-5)


def test_the_learning_rate_warms_up_and_cools_down() -> None:
    options = Optimizer(learning_rate=2.0, warmup=100, cooldown=200)
    rates = [learning_rate(options, seen, 1000) for seen in (0, 49, 99, 500, 800, 900, 1000)]
    assert rates == pytest.approx([0.02, 1.0, 2.0, 2.0, 2.0, 1.0, 0.0])


def recipe_file(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return str(path)


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    recipe = load_recipe(
        recipe_file(
            tmp_path,
            """
            family = "edm"
            data = "qm9"
            papers = ["arXiv:2203.17003"]
            [optimizer]
            betas = [0.8, 0.9]
            """,
        )
    )
    assert (recipe.name, recipe.papers, recipe.optimizer.betas) == ("mine", ("arXiv:2203.17003",), (0.8, 0.9))


def test_shipped_recipes_build_their_models() -> None:
    recipe = load_recipe("edm-qm9")
    data = SimpleNamespace(elements=np.array([1, 6, 7, 8, 9]), size_histogram=lambda: {3: 1})
    model = EDM(EDM.config_for(recipe.model, data))
    assert 500_000 < sum(p.numel() for p in model.parameters()) < 5_000_000


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("family = 'edm'", "data: Field required"),
        ("family = 'edm'\ndata = 'qm9'\ncolour = 3", "colour"),
        ("family = 'edm'\ndata = 'qm9'\n[optimizer]\nlearning_speed = 1", "learning_speed"),
        ("family = 'edm'\ndata = 'qm9'\nmolecules = 'many'", "molecules: .*integer"),
        ("family = 'edm'\ndata = 'qm9'\nbatch = 100", "multiple of bucket"),
        ("family = 'edm'\ndata = 'qm9'\nema = 1.5", "ema is 1.5"),
        ("family = 'edm'\ndata = 'qm9'\nbatch = 0", "at least 1"),
        ("family = [", "not valid TOML"),
    ],
)
def test_a_recipe_with_a_fault_names_it(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        load_recipe(recipe_file(tmp_path, text))


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="edm-qm9"):
        load_recipe("edm-qm8")


def test_an_unknown_loss_option_is_named(make_edm: Callable[..., EDM], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="glow"):
        train(replace(RECIPE, loss={"glow": 1}), make_edm(), Molecules(), Run(tmp_path))


TWO = """
import sys
import torch
import torch.distributed as dist
sys.path[:0] = {paths!r}
import conftest, test_training
from dataclasses import replace
from pathlib import Path
from models.training.loop import Run, train
if "{count}" == "2":
    dist.init_process_group("gloo")
torch.set_num_threads(1)
model = conftest.small_edm()
train(replace(test_training.RECIPE, molecules=96), model, test_training.Molecules(), Run(Path({folder!r})))
if not dist.is_initialized() or dist.get_rank() == 0:
    from safetensors.torch import save_file
    save_file(model.state_dict(), {out!r})
if dist.is_initialized():
    dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_learn_the_weights_of_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    here = Path(__file__).parent
    found = []
    for count in (1, 2):
        script, out = tmp_path / f"run{count}.py", tmp_path / f"{count}.safetensors"
        script.write_text(
            TWO.format(
                paths=[str(here), str(here.parents[1])],
                count=count,
                folder=str(tmp_path / str(count)),
                out=str(out),
            ),
            encoding="utf-8",
        )
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29617"]
        command = [sys.executable, *(launcher if count == 2 else []), str(script)]
        subprocess.run(command, check=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"})
        found.append(load_file(out))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=1e-5)
