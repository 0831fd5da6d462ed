"""Our network and sampler against numbers that the published EDM code computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.centered import remove_mean
from models.core.errors import CheckpointError
from models.edm.lanes import Lanes
from models.edm.model import EDM
from models.edm.published import from_published
from models.edm.samplers import Ancestral
from models.egnn.pairs import DensePairs
from models.egnn.published import network_weights, published_config

REFERENCE = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "edm_random_small.npz"
QM9 = (1, 6, 7, 8, 9)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray[Any, Any]]:
    if not REFERENCE.is_file():
        pytest.skip(f"the reference numbers of the published code are not at {REFERENCE}")
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


def weights(reference: dict[str, Any]) -> dict[str, Tensor]:
    return {
        name.removeprefix("sd/"): torch.from_numpy(value)
        for name, value in reference.items()
        if name.startswith("sd/")
    }


@pytest.fixture
def model(reference: dict[str, Any]) -> EDM:
    return from_published(weights(reference), elements=QM9, sizes={18: 1}).requires_grad_(False)


def molecule(reference: dict[str, Any], name: str, k: int, dtype: torch.dtype) -> Tensor:
    """Row k of a padded array without its padding, as a batch of one."""
    n = int(reference["n_atoms"][k])
    return torch.from_numpy(reference[name][k : k + 1, :n]).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "suffix", "tolerance"), [(torch.float64, "f64", 1e-6), (torch.float32, "f32", 1e-4)]
)
def test_the_predicted_noise_is_the_published_one(
    reference: dict[str, Any], model: EDM, dtype: torch.dtype, suffix: str, tolerance: float
) -> None:
    denoiser = model.to(dtype).denoiser
    for k in range(len(reference["n_atoms"])):
        z = molecule(reference, "phi/z", k, dtype)
        time = torch.from_numpy(reference["phi/t"][k]).to(dtype)
        noise = torch.cat(denoiser.noise(z[..., :3], z[..., 3:], time), -1)
        expected = molecule(reference, f"phi/eps_{suffix}", k, dtype)
        torch.testing.assert_close(noise, expected, rtol=tolerance, atol=tolerance)


def test_the_variance_exploding_frame_gives_the_same_noise(reference: dict[str, Any], model: EDM) -> None:
    denoiser = model.double().denoiser
    for k in range(len(reference["n_atoms"])):
        z = molecule(reference, "phi/z", k, torch.float64)
        gamma = denoiser.process.gamma[round(float(reference["phi/t"][k, 0]) * 1000)].double()
        level, alpha = (0.5 * gamma).exp(), torch.sigmoid(-gamma).sqrt()
        out = denoiser(z[..., :3] / alpha, z[..., 3:] / alpha, level[None])
        noise = torch.cat([z[..., :3] / alpha - out.x, z[..., 3:] / alpha - out.h], -1) / level
        expected = molecule(reference, "phi/eps_f64", k, torch.float64)
        torch.testing.assert_close(noise, expected, rtol=1e-6, atol=1e-6)


def test_a_padded_batch_gives_the_published_numbers(reference: dict[str, Any], model: EDM) -> None:
    network = model.double().denoiser.network
    mask = torch.from_numpy(reference["node_mask"]).double()
    z = torch.from_numpy(reference["phi/z"]).double()
    time = torch.from_numpy(reference["phi/t"]).double()[:, :, None].expand(-1, z.shape[1], -1)
    h, x = network(torch.cat([z[..., 3:], time], -1) * mask, z[..., :3], DensePairs(z.shape[1], mask=mask))
    velocity = remove_mean((x - z[..., :3]) * mask, mask)
    found = torch.cat([velocity, h[..., :-1] * mask], -1)
    torch.testing.assert_close(found, torch.from_numpy(reference["phi/eps_f64"]), rtol=1e-6, atol=1e-6)


class FixedNoise(Lanes):
    """Lanes whose next noise is given."""

    given: Tensor

    def noise(self, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        return self.given[..., :3], self.given[..., 3:]


def test_one_reverse_step_is_the_published_one(reference: dict[str, Any], model: EDM) -> None:
    denoiser = model.double().denoiser
    gamma = denoiser.process.gamma.double()
    for k in range(len(reference["n_atoms"])):
        t, s = (round(float(reference[f"step/{name}"][k, 0]) * 1000) for name in "ts")
        alpha_t, alpha_s = (torch.sigmoid(-gamma[i]).sqrt() for i in (t, s))
        z = molecule(reference, "phi/z", k, torch.float64) / alpha_t
        # A last level of zero is the decoder's; a step that ends at t = 0 still has noise sigma_0.
        lanes = FixedNoise(
            x=z[..., :3], h=z[..., 3:], grid=(0.5 * gamma[[t, s]]).exp()[None],
            place=torch.zeros(1, dtype=torch.long), sources=[],
        )  # fmt: skip
        lanes.given = molecule(reference, "step/noise", k, torch.float64)
        Ancestral(1000).advance(denoiser, lanes)
        found = torch.cat([lanes.x, lanes.h], -1) * alpha_s
        expected = molecule(reference, "step/z_s_f64", k, torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def published_layout(
    width: int = 8, layers: int = 2, sublayers: int = 1, channels: int = 7
) -> dict[str, Tensor]:
    """Random weights under the published names, for when the reference file is absent."""
    source = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.weight": (width, channels), "embedding.bias": (width,),
        "embedding_out.weight": (channels, width), "embedding_out.bias": (channels,),
    }  # fmt: skip
    for b in range(layers):
        for k in range(sublayers):
            for name, into, out in [
                ("edge_mlp.0", 2 * width + 2, width), ("edge_mlp.2", width, width), ("att_mlp.0", width, 1),
                ("node_mlp.0", 2 * width, width), ("node_mlp.2", width, width),
            ]:  # fmt: skip
                shapes[f"e_block_{b}.gcl_{k}.{name}.weight"] = (out, into)
                shapes[f"e_block_{b}.gcl_{k}.{name}.bias"] = (out,)
        for name, into in (("0", 2 * width + 2), ("2", width)):
            shapes[f"e_block_{b}.gcl_equiv.coord_mlp.{name}.weight"] = (width, into)
            shapes[f"e_block_{b}.gcl_equiv.coord_mlp.{name}.bias"] = (width,)
        shapes[f"e_block_{b}.gcl_equiv.coord_mlp.4.weight"] = (1, width)
    state = {f"dynamics.egnn.{name}": torch.randn(s, generator=source) for name, s in shapes.items()}
    return {**state, "gamma.gamma": torch.linspace(-10, 10, 11), "buffer": torch.zeros(1)}


def test_sizes_are_read_from_the_shapes() -> None:
    config = published_config(published_layout(width=8, layers=3, sublayers=2))
    assert (config.width, config.layers, config.sublayers, config.inputs) == (8, 3, 2, 7)
    assert config.coordinate_range == 15.0


def test_every_published_number_finds_its_place() -> None:
    state = published_layout(sublayers=2)
    model = from_published(state, elements=QM9, sizes={3: 1})
    moved = sum(value.numel() for name, value in state.items() if name.startswith("dynamics."))
    assert sum(parameter.numel() for parameter in model.parameters()) == moved


def test_a_checkpoint_of_another_network_is_refused() -> None:
    state = published_layout()
    missing = {k: v for k, v in state.items() if "coord_mlp.4" not in k}
    with pytest.raises(CheckpointError, match=r"coord_mlp\.4"):
        network_weights(missing)
    with pytest.raises(CheckpointError, match="lacks"):
        network_weights({**state, "dynamics.egnn.e_block_0.extra.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="input channels"):
        from_published(state, elements=QM9[:3], sizes={3: 1})
    with pytest.raises(CheckpointError, match=r"gamma\.gamma"):
        from_published({k: v for k, v in state.items() if k != "gamma.gamma"}, elements=QM9, sizes={3: 1})
    with pytest.raises(CheckpointError, match="no EDM network"):
        published_config({"gamma.gamma": torch.zeros(3)})
