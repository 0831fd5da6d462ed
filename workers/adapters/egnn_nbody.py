"""Charged particles: positions, velocities and charges in, later positions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch

from models.egnn_nbody.model import ParticleEGNN
from models.egnn_nbody.simulator import Particles, advance
from models.egnn_properties.conformal import half_width
from workers.adapters.base import Cancelled, Item, Outcome, Progress, Row, StepProgress, Work
from workers.adapters.family import FamilyAdapter
from workers.adapters.loading import load_weights
from workers.cards import Card
from workers.schemas.base import JobRequest
from workers.schemas.egnn_nbody import PredictRequest

TOGETHER = 256
"""Systems of one size in one network call."""


class Adapter(FamilyAdapter):
    """One particle model on one device."""

    def setup(self, card: Card | None, device: str) -> None:
        """Load the weights and the calibration."""
        card, model = load_weights(card, device)
        self.model = cast("ParticleEGNN", model)
        self.calibration: dict[str, Any] = (card.model_extra or {}).get("calibration", {})

    def decode(self, capability: str, request: JobRequest, items: Sequence[Item]) -> Work:
        """The systems of these items as arrays."""
        systems = cast("PredictRequest", request).systems
        content = [
            Particles(
                np.array(systems[item.index].positions, dtype=np.float64),
                np.array(systems[item.index].velocities, dtype=np.float64),
                np.array(systems[item.index].charges, dtype=np.float64),
            )
            for item in items
        ]
        return Work(capability, request, tuple(items), content)

    def run(self, work: Work, progress: Progress, cancelled: Cancelled) -> Iterator[Outcome]:
        """Systems of one size at a time."""
        request = cast("PredictRequest", work.request)
        systems: list[Particles] = work.content
        done = 0
        for n in sorted({len(system.charges) for system in systems}):
            rows = [k for k, system in enumerate(systems) if len(system.charges) == n]
            for start in range(0, len(rows), TOGETHER):
                if cancelled():
                    return
                part = rows[start : start + TOGETHER]
                now = stacked([systems[k] for k in part])
                later = self._predict(now, request.method)
                truth = advance(now, request.steps).positions if request.simulate else None
                for place, k in enumerate(part):
                    real = None if truth is None else truth[place]
                    yield Outcome(work.items[k], request, work.capability, (systems[k], later[place], real))
                done += len(part)
                progress(StepProgress(done, len(systems)))

    @torch.inference_mode()
    def _predict(self, now: Particles, method: str) -> Any:
        x, v, q = (
            torch.from_numpy(values).to(self.model.device, self.model.dtype)
            for values in (now.positions, now.velocities, now.charges[..., None])
        )
        # Predicted about the center of each system, so that where it lies costs no digits.
        center = x.mean(1, keepdim=True) if method == "egnn" else torch.zeros_like(x[:, :1])
        return (self.model(x - center, v, q, method=method) + center).double().cpu().numpy()

    def encode(self, outcome: Outcome) -> Row:
        """Later positions, the radius around them, and whether the system is like those of the training data."""
        request = cast("PredictRequest", outcome.request)
        now, later, truth = outcome.value
        reasons = self._outside(now)
        radii = self.calibration.get("radius", {}).get(request.method)
        data: dict[str, Any] = {
            "smiles": None,
            "valid": bool(np.isfinite(later).all()),
            "passed": bool(np.isfinite(later).all()),
            "n_particles": len(now.charges),
            "steps": request.steps,
            "method": request.method,
            "positions": later.tolist(),
            "coverage": request.coverage,
            "radius": None if radii is None else half_width(radii, request.coverage / 100),
            "in_domain": not reasons,
            "reasons": reasons,
        }
        if truth is not None:
            data |= {
                "simulated_positions": truth.tolist(),
                "simulated_error": float(np.square(later - truth).mean()),
            }
        return Row(outcome.item.index, data)

    def _outside(self, now: Particles) -> list[dict[str, Any]]:
        """Why a system is unlike the training data."""
        config = self.model.config
        usual, widest, fastest = config["particles"], config["spread"], config["speed"]
        spread = np.linalg.norm(now.positions - now.positions.mean(0), axis=1).max()
        speed = np.linalg.norm(now.velocities, axis=1).max()
        found = {
            "outside-size": (len(now.charges) != usual, f"it does not have {usual} particles"),
            "outside-charge": (bool((np.abs(now.charges) != 1).any()), "a charge is neither 1 nor -1"),
            "outside-spread": (spread > widest, f"a particle is over {widest:.1f} from the center"),
            "outside-speed": (speed > fastest, f"a particle is faster than {fastest:.1f}"),
        }  # fmt: skip
        return [
            {"code": code, "message": f"unlike the training data: {why}", "atoms": []}
            for code, (unlike, why) in found.items()
            if unlike
        ]


def stacked(systems: Sequence[Particles]) -> Particles:
    """Systems of one size as one."""
    return Particles(
        np.stack([system.positions for system in systems]),
        np.stack([system.velocities for system in systems]),
        np.stack([system.charges for system in systems]),
    )
