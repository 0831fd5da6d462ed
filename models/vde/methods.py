"""The four ways to a log-determinant side by side, with what each cost, and which to choose."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from models.core.random import generator
from models.vde.errors import FewEffectiveSamplesError
from models.vde.estimators import bound, importance
from models.vde.exact import exact
from models.vde.lanczos import lanczos_log_det
from models.vde.operators import Form, FunctionOperator, dense
from models.vde.projective import TriangularProjection
from models.vde.results import LogDeterminant
from models.vde.training import fit
from models.vde.weights import log_weights, power


@dataclass(frozen=True)
class Settings:
    """Which methods, and how much each may take."""

    methods: tuple[str, ...]
    samples: int
    training_steps: int
    batch: int
    probes: int
    lanczos_steps: int
    seed: int


def compare(
    matrix: Tensor, form: Form, settings: Settings, cancelled: Callable[[], bool] = lambda: False
) -> dict[str, dict[str, Any]]:
    """Every method's answer: value, kind, standard error, 95 % interval, products, effective samples, or a reason.

    The matrix has passed `check_matrix`. Raises InterruptedError when cancelled.
    """
    out: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(settings.methods):
        if cancelled():
            raise InterruptedError("cancelled")
        if name == "exact" or matrix.shape[0] == 1:
            out[name] = described(exact(matrix, form))
        elif name == "lanczos":
            found = lanczos_log_det(
                dense(matrix), probes=settings.probes, steps=settings.lanczos_steps, form=form,
                generator=generator(settings.seed, "lanczos"), cancelled=cancelled,
            )  # fmt: skip
            out[name] = described(found)
        else:
            out[name] = sampled(matrix, form, settings, cancelled, fitted=name == "vde")
    return out


def sampled(
    matrix: Tensor, form: Form, settings: Settings, cancelled: Callable[[], bool], *, fitted: bool
) -> dict[str, Any]:
    """The importance-weighted estimate, from a fitted flow or from uniform samples."""
    operator: FunctionOperator = dense(matrix)
    flow = TriangularProjection(operator.size) if fitted else None
    if flow is not None:
        fit(
            flow, operator, form=form, steps=settings.training_steps, batch=settings.batch,
            generator=generator(settings.seed, "training"), cancelled=cancelled,
        )  # fmt: skip
    training = operator.matvecs
    weights = log_weights(
        operator, flow, settings.samples, form=form, generator=generator(settings.seed, "samples"),
        cancelled=cancelled,
    )  # fmt: skip
    upper = described(bound(weights, power=power(form), matvecs=operator.matvecs))
    extra = {"training_products": training, "bound": upper}
    try:
        found = importance(weights, power=power(form), matvecs=operator.matvecs, seed=settings.seed)
    except FewEffectiveSamplesError as error:
        return {
            "value": None, "kind": "estimate", "standard_error": None, "low": None, "high": None,
            "products": operator.matvecs, "samples": settings.samples, "effective_samples": error.effective,
            "reason": str(error), **extra,
        }  # fmt: skip
    return described(found) | extra


def described(found: LogDeterminant) -> dict[str, Any]:
    """As plain numbers; what is not finite is None."""
    data = asdict(found)
    data["products"] = data.pop("matvecs")
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in data.items()}


def advice(found: dict[str, dict[str, Any]], size: int, form: Form) -> str:
    """Says plainly when a factorization is the better choice: for every matrix that fits into memory."""
    name = "Cholesky" if form == "spd" else "LU"
    dearest = {
        key: one["products"] for key, one in found.items() if key != "exact" and one["products"] > size
    }
    against = ", ".join(f"{key} took {count:,}" for key, count in dearest.items())
    return (
        f"Exact {name} is the better choice here: it needs the {size} products that tell the matrix"
        f"{'; ' + against if against else ''}. "
        "The estimators pay only where a matrix is known by its products and is too large to be stored."
    )
