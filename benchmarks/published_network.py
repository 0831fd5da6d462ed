"""The published EDM network written plainly from its equations: the yardstick of the benchmarks.

One layer on concatenated [h_i, h_j, e_ij] for every ordered pair of a padded batch, masked afterwards, as the
published code does it. Nothing is split, nothing is skipped.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mlp(into: int, width: int, out: int | None = None) -> nn.Sequential:
    """Two layers with SiLU after the first, and after the second too when `out` is None."""
    layers = [nn.Linear(into, width), nn.SiLU(), nn.Linear(width, out or width)]
    return nn.Sequential(*layers, *([] if out else [nn.SiLU()]))


class PlainBlock(nn.Module):
    """Message passing and coordinate update, equations of EDM's appendix C."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.edge_mlp = mlp(2 * width + 2, width)
        self.att_mlp = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())
        self.node_mlp = mlp(2 * width, width, width)
        self.coord_mlp = nn.Sequential(*mlp(2 * width + 2, width), nn.Linear(width, 1, bias=False))

    def forward(
        self, h: Tensor, x: Tensor, x_0: Tensor, mask: Tensor, pairs: Tensor
    ) -> tuple[Tensor, Tensor]:
        b, n, _ = h.shape
        difference = x[:, :, None] - x[:, None]
        squared = difference.square().sum(-1, keepdim=True)
        squared_0 = (x_0[:, :, None] - x_0[:, None]).square().sum(-1, keepdim=True)
        direction = difference / ((squared + 1e-8).sqrt() + 1)

        def inputs(h: Tensor) -> Tensor:
            receiver, sender = h[:, :, None].expand(b, n, n, -1), h[:, None].expand(b, n, n, -1)
            return torch.cat([receiver, sender, squared, squared_0], -1)

        m = self.edge_mlp(inputs(h))
        m = m * self.att_mlp(m) * pairs
        h = (h + self.node_mlp(torch.cat([h, m.sum(2)], -1))) * mask
        c = torch.tanh(self.coord_mlp(inputs(h))) * 15.0
        return h, (x + (direction * c * pairs).sum(2)) * mask


class PlainNetwork(nn.Module):
    """Noise prediction for z_t `[b, n, 3 + c]` at times `[b]`, padded to n with `mask` `[b, n, 1]`."""

    def __init__(self, channels: int = 6, width: int = 256, layers: int = 9) -> None:
        super().__init__()
        self.embedding = nn.Linear(channels + 1, width)
        self.embedding_out = nn.Linear(width, channels + 1)
        self.blocks = nn.ModuleList(PlainBlock(width) for _ in range(layers))

    def forward(self, z: Tensor, time: Tensor, mask: Tensor) -> Tensor:
        n = z.shape[1]
        pairs = (mask[:, :, None] * mask[:, None]) * (1 - torch.eye(n))[None, :, :, None]
        x = x_0 = z[..., :3] * mask
        h = self.embedding(torch.cat([z[..., 3:], time[:, None, None].expand(-1, n, 1)], -1) * mask)
        for block in self.blocks:
            h, x = block(h, x, x_0, mask, pairs)
        velocity = (x - x_0) * mask
        velocity = velocity - velocity.sum(1, keepdim=True) / mask.sum(1, keepdim=True) * mask
        return torch.cat([velocity, self.embedding_out(h)[..., :-1] * mask], -1)

    def published_names(self) -> dict[str, Tensor]:
        """The state dict under the names of published checkpoints."""
        out = {}
        for name, value in self.state_dict().items():
            name = name.replace("blocks.", "e_block_").replace(".coord_mlp", ".gcl_equiv.coord_mlp")
            for part in ("edge_mlp", "att_mlp", "node_mlp"):
                name = name.replace(f".{part}", f".gcl_0.{part}")
            out[f"dynamics.egnn.{name}"] = value
        return out
