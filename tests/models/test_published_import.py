"""Published checkpoint folders of every kind become models that compute what the published formulas say."""

from __future__ import annotations

import json
import pickle  # only to write what the authors wrote
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.core.errors import CheckpointError, ConfigError
from models.edm.model import EDM
from models.egnn_properties.model import PropertyEGNN
from models.egnn_properties.published import from_published
from models.enf.model import ENF
from models.published.datasets import DATASETS
from models.published.kinds import import_checkpoint
from models.published.saving import save_imported
from models.weights import load_model
from tests.models.test_published_edm import published_layout

ELEMENTS = (1, 6, 7, 8, 9)


def layer(
    state: dict[str, Tensor], name: str, into: int, out: int, source: torch.Generator, *, bias: bool = True
) -> None:
    state[f"{name}.weight"] = torch.randn(out, into, generator=source) / into**0.5
    if bias:
        state[f"{name}.bias"] = 0.1 * torch.randn(out, generator=source)


def property_layout(width: int = 8, layers: int = 2, inputs: int = 15) -> dict[str, Tensor]:
    """Random weights of a property model under the published names."""
    source, state = torch.Generator().manual_seed(0), dict[str, Tensor]()
    layer(state, "embedding", inputs, width, source)
    for k in range(layers):
        for name, into, out in [
            ("edge_mlp.0", 2 * width + 1, width), ("edge_mlp.2", width, width), ("node_mlp.0", 2 * width, width),
            ("node_mlp.2", width, width), ("att_mlp.0", width, 1),
        ]:  # fmt: skip
            layer(state, f"gcl_{k}.{name}", into, out, source)
    for name, out in (
        ("node_dec.0", width),
        ("node_dec.2", width),
        ("graph_dec.0", width),
        ("graph_dec.2", 1),
    ):
        layer(state, name, width, out, source)
    return state


def layered_layout(
    prefix: str, width: int, layers: int, inputs: int, outputs: int, extra: int, gate: bool
) -> dict[str, Tensor]:
    """Random weights of an E-NF network under the published names."""
    source, state = torch.Generator().manual_seed(1), dict[str, Tensor]()
    layer(state, f"{prefix}embedding", inputs, width, source)
    layer(state, f"{prefix}embedding_out", width, outputs, source)
    for k in range(layers):
        names = [
            ("edge_mlp.0", 2 * width + extra, width), ("edge_mlp.2", width, width), ("node_mlp.0", 2 * width, width),
            ("node_mlp.2", width, width), ("coord_mlp.0", width, width),
        ]  # fmt: skip
        for name, into, out in [*names, *([("att_mlp.0", width, 1)] if gate else [])]:
            layer(state, f"{prefix}gcl_{k}.{name}", into, out, source)
        layer(state, f"{prefix}gcl_{k}.coord_mlp.2", width, 1, source, bias=False)
    return state


def edm_folder(folder: Path, kind: str) -> Path:
    """What the authors' EDM code leaves behind: a state dict and pickled arguments."""
    arguments: dict[str, Any] = {
        "model": "egnn_dynamics", "dataset": "qm9", "include_charges": True, "conditioning": [],
        "condition_time": True, "normalize_factors": [1, 4, 10], "norm_constant": 1, "attention": True,
        "tanh": True, "nf": 8,
    }  # fmt: skip
    channels = 7
    if kind == "geom":
        arguments |= {"dataset": "geom", "include_charges": False, "normalization_factor": 1.0}
        channels = 17
    if kind == "conditional":
        arguments |= {"dataset": "qm9_second_half", "include_charges": False, "conditioning": ["alpha"]}
        arguments |= {"normalize_factors": [1, 8, 1]}
    folder.mkdir()
    torch.save(published_layout(channels=channels), folder / "generative_model_ema.npy")
    (folder / "args.pickle").write_bytes(pickle.dumps(Namespace(**arguments)))
    return folder


def enf_folder(folder: Path) -> Path:
    """What the authors' E-NF code leaves behind, with the arguments as JSON."""
    folder.mkdir()
    flow = layered_layout("transformations.1.odefunc.dynamics.egnn.", 8, 2, 7, 7, 2, True)
    scales = {"x_log_s": 1, "h_t": 6, "h_log_s": 6}
    flow |= {f"transformations.0.{name}": torch.full((1, k), 0.5) for name, k in scales.items()}
    torch.save(flow, folder / "flow.npy")
    torch.save(layered_layout("net_fn.egnn.", 8, 2, 6, 12, 1, False), folder / "dequantizer.npy")
    (folder / "args.json").write_text(json.dumps({"dataset": "qm9", "dequantization": "argmax_variational"}))
    return folder


def test_three_kinds_of_edm_are_read_from_a_folder(tmp_path: Path) -> None:
    expected = {
        "qm9": ((1, 6, 7, 8, 9), 0.25, 0.1, (3, 29)),
        "geom": (DATASETS["geom"].elements, 0.25, None, (3, 181)),
        "conditional": ((1, 6, 7, 8, 9), 0.125, None, (3, 29)),
    }
    for kind, (elements, scale, charge, sizes) in expected.items():
        for behavior in ("corrected", "published"):
            found = import_checkpoint("edm", edm_folder(tmp_path / f"{kind}-{behavior}", kind), behavior)
            model = found.model
            assert isinstance(model, EDM)
            features = model.features
            assert (features.elements, features.type_scale, features.charge_scale) == (
                elements,
                scale,
                charge,
            )
            assert (min(found.sizes), max(found.sizes)) == sizes
            assert features.last_element == (behavior == "corrected" or kind == "qm9")
            names = [condition.name for condition in model.conditions]
            assert names == (["alpha"] if kind == "conditional" else [])
            context = [[90.0]] if names else None
            run = model.sampling([5], [0], sampler="ancestral", steps=3, context=context)
            while not run.done:
                run.step()
            assert set(run.result()[0].numbers.tolist()) <= set(elements)


def test_the_conditional_network_sees_features_time_and_scaled_condition_in_the_published_order(
    tmp_path: Path,
) -> None:
    folder = edm_folder(tmp_path / "c", "conditional")
    model = import_checkpoint("edm", folder, "corrected").model.double()
    assert isinstance(model, EDM)
    state = torch.load(folder / "generative_model_ema.npy", weights_only=True)
    source = torch.Generator().manual_seed(0)
    z = torch.randn(1, 4, 8, generator=source, dtype=torch.float64)
    seen: list[Tensor] = []
    model.denoiser.network.embedding.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    time, told = torch.tensor([0.3]).double(), torch.tensor([[1.7]]).double()
    model.denoiser.noise(z[..., :3], z[..., 3:], time, context=told)
    wanted = torch.cat([z[..., 3:], torch.full((1, 4, 1), 0.3), torch.full((1, 4, 1), 1.7)], -1)
    torch.testing.assert_close(seen[0], wanted.double(), rtol=0, atol=1e-7)
    weight = model.denoiser.network.embedding.weight
    torch.testing.assert_close(weight, state["dynamics.egnn.embedding.weight"].double(), rtol=0, atol=0)


def test_an_enf_keeps_or_corrects_the_published_count_of_dimensions(tmp_path: Path) -> None:
    folder = enf_folder(tmp_path / "enf")
    source = torch.Generator().manual_seed(0)
    numbers, positions = [torch.tensor([6, 1, 8]).numpy()], [torch.randn(3, 3, generator=source).numpy()]
    values = {}
    for behavior in ("corrected", "published"):
        found = import_checkpoint("enf", folder, behavior)
        assert isinstance(found.model, ENF)
        values[behavior] = found.model.log_prob(numbers, positions, [0])[0].value
        assert found.defaults["score"]["tolerance"] == {"corrected": 1e-6, "published": 1e-4}[behavior]
    assert values["corrected"] - values["published"] == pytest.approx(3 * 0.5, abs=1e-6)


def test_a_property_model_computes_the_published_formula() -> None:
    state = {name: value.double() for name, value in property_layout().items()}
    model = from_published(state, elements=ELEMENTS, name="alpha", mean=75.0, spread=6.0).double()
    numbers = torch.tensor([[6, 1, 8, 9]])
    x = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def apply(name: str, value: Tensor) -> Tensor:
        return F.linear(value, state[f"{name}.weight"], state[f"{name}.bias"])

    kinds = F.one_hot(torch.tensor([1, 0, 3, 4]), 5).double()
    power = (numbers[0, :, None].double() / 9) ** torch.arange(3)
    h = apply("embedding", (kinds[:, :, None] * power[:, None, :]).reshape(4, 15))
    for k in range(2):
        received = torch.zeros_like(h)
        for i in range(4):
            for j in range(4):
                if i != j:
                    pair = torch.cat([h[i], h[j], (x[0, i] - x[0, j]).square().sum()[None]])
                    m = F.silu(apply(f"gcl_{k}.edge_mlp.2", F.silu(apply(f"gcl_{k}.edge_mlp.0", pair))))
                    received[i] += m * torch.sigmoid(apply(f"gcl_{k}.att_mlp.0", m))
        h = h + apply(
            f"gcl_{k}.node_mlp.2", F.silu(apply(f"gcl_{k}.node_mlp.0", torch.cat([h, received], -1)))
        )
    total = apply("node_dec.2", F.silu(apply("node_dec.0", h))).sum(0)
    answer = apply("graph_dec.2", F.silu(apply("graph_dec.0", total)))
    found = model(numbers, x).values
    torch.testing.assert_close(found[0], 75.0 + 6.0 * answer, rtol=1e-10, atol=1e-10)


def test_a_property_model_is_read_from_a_folder(tmp_path: Path) -> None:
    torch.save(
        {f"module.{k}": v for k, v in property_layout(inputs=5).items()}, tmp_path / "best_checkpoint.npy"
    )
    (tmp_path / "args.json").write_text(json.dumps({"property": "Cv", "dataset": "qm9_first_half"}))
    model = import_checkpoint("egnn", tmp_path, "corrected").model
    assert isinstance(model, PropertyEGNN)
    assert model.properties == ("cv",)
    assert model.config["components"]["cv"]["constant"] == pytest.approx(-22.1666, abs=1e-3)


def test_an_imported_model_is_weights_and_a_card_that_load_again(tmp_path: Path) -> None:
    folder = edm_folder(tmp_path / "source", "conditional")
    path = save_imported("edm", folder, "mine", tmp_path / "out", behavior="published", licence="MIT")
    card = json.loads(path.read_text())
    model = load_model(card, path.with_suffix(".safetensors"))
    assert isinstance(model, EDM)
    assert card["defaults"]["sample"] == {"sampler": "ancestral", "steps": 10}
    assert card["training"]["behavior"] == "published"
    assert set(card["training"]["files"]) == {"args.pickle", "generative_model_ema.npy"}
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["mine.json", "mine.safetensors"]
    with pytest.raises(ConfigError, match="already"):
        save_imported("edm", folder, "mine", tmp_path / "out")
    save_imported("edm", folder, "mine", tmp_path / "out", replace=True, sizes={5: 2, 7: 1})
    assert json.loads(path.read_text())["size_range"] == [5, 7]
    with pytest.raises(ConfigError, match="model id"):
        save_imported("edm", folder, "../mine", tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"sin_embedding": True}, "sin_embedding"),
        ({"dataset": "zinc"}, "zinc"),
        ({"aggregation_method": "mean"}, "aggregation_method"),
        ({"conditioning": ["colour"]}, "colour"),
        ({"conditioning": ["mu"]}, "input channels"),
        ({"attention": False}, "attention"),
    ],
)
def test_runs_that_would_be_another_model_here_are_refused(
    tmp_path: Path, changes: dict[str, Any], hint: str
) -> None:
    folder = edm_folder(tmp_path / "a", "qm9")
    (folder / "args.json").write_text(json.dumps({"dataset": "qm9", **changes}))
    with pytest.raises(CheckpointError, match=hint):
        import_checkpoint("edm", folder, "corrected")


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    folder = edm_folder(tmp_path / "a", "qm9")
    weights = folder / "generative_model_ema.npy"
    torch.save({"a": 1}, weights)
    with pytest.raises(CheckpointError, match="no tensors"):
        import_checkpoint("edm", folder, "corrected")
    torch.save(torch.nn.Linear(1, 1), weights)  # a whole module: its class would have to be imported
    with pytest.raises(CheckpointError, match="safely"):
        import_checkpoint("edm", folder, "corrected")
    weights.unlink()
    with pytest.raises(CheckpointError, match="generative_model"):
        import_checkpoint("edm", folder, "corrected")
    for kind, behavior in (("gan", "corrected"), ("edm", "improved")):
        with pytest.raises(ConfigError, match="choose"):
            import_checkpoint(kind, folder, behavior)
