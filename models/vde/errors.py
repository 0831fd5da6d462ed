"""What can be wrong with a matrix, or with what its samples say of it."""

from __future__ import annotations

from models.core.errors import EquimolError


class SingularError(EquimolError, ArithmeticError):
    """A matrix without a finite log-determinant."""


class NotPositiveDefiniteError(EquimolError, ValueError):
    """A matrix that was promised to be symmetric positive definite and is not."""


class FewEffectiveSamplesError(EquimolError, ArithmeticError):
    """Weights so uneven that their mean says nothing: a handful of samples carry it."""

    def __init__(self, effective: float, floor: float, samples: int) -> None:
        super().__init__(
            f"{samples} samples are worth {effective:.1f} (effective sample size), below the floor of {floor:g}: "
            "no estimate is given. Use the exact method, a longer training, or more samples."
        )
        self.effective, self.floor, self.samples = effective, floor, samples
