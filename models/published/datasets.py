"""What the published code knows of its data sets: elements in channel order, sizes, and scales of the properties.

Histograms count the training molecules (for GEOM-Drugs all conformers). The scales of QM9's properties are
mean and mean absolute deviation, of the training split, or of the validation split for the halves.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.core.errors import CheckpointError

QM9 = (1, 6, 7, 8, 9)
GEOM = (1, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 33, 35, 53, 80, 83)


@dataclass(frozen=True)
class Published:
    """A data set: `elements` in channel order, `sizes` counted, `scales` by property."""

    title: str
    elements: tuple[int, ...]
    sizes: dict[int, int]
    scales: dict[str, tuple[float, float]]


def counted(first: int, *runs: int) -> dict[int, int]:
    """A histogram of consecutive sizes from `first`, zeros left out."""
    return {n: count for n, count in enumerate(runs, first) if count}


SIZES_QM9 = counted(
    3, 1, 4, 5, 9, 16, 49, 124, 362, 807, 1689, 3060, 5136, 7796, 10644, 13025, 13364, 13832, 9482, 9970,
    3393, 4848, 539, 1506, 48, 266, 0, 25,
)  # fmt: skip
SIZES_SECOND_HALF = counted(
    3, 1, 3, 3, 5, 7, 25, 62, 178, 412, 845, 1541, 2587, 3865, 5344, 6461, 6695, 6944, 4794, 4962, 1701,
    2380, 267, 754, 17, 132, 0, 15,
)  # fmt: skip
SIZES_FIRST_HALF = {
    n: rest for n, count in SIZES_QM9.items() if (rest := count - SIZES_SECOND_HALF.get(n, 0))
}
SIZES_GEOM = counted(
    3, 1, 3, 9, 2, 8, 23, 23, 50, 109, 168, 280, 402, 583, 597, 949, 1284, 1862, 2674, 3599, 6109, 8693,
    13604, 17419, 25672, 31647, 43809, 56697, 70400, 82655, 104100, 122776, 140834, 164888, 185451,
    194541, 218549, 231232, 243300, 253349, 268341, 272081, 276917, 276839, 274747, 272126, 262709,
    250157, 244781, 228898, 215338, 203728, 191697, 180518, 163843, 152055, 136536, 120393, 107292, 94635,
    83179, 68384, 61517, 48867, 37685, 32859, 27367, 20981, 18699, 14791, 11921, 9933, 9037, 6538, 6374,
    4036, 4189, 3842, 3277, 2925, 1843, 2060, 1394, 1514, 1357, 1346, 999, 300, 390, 510, 510, 240, 721,
    360, 360, 390, 330, 540, 258, 210, 60, 180, 206, 60, 390, 180, 180, 150, 120, 360, 120, 210, 60, 30,
    210, 270, 450, 240, 228, 120, 30, 420, 240, 210, 158, 180, 60, 30, 120, 30, 120, 60, 240, 169, 240,
    30, 270, 180, 270, 150, 60, 60, 240, 180, 150, 150, 90, 90, 0, 30, 60, 0, 0, 90, 0, 0, 0, 30, 60, 0,
    0, 0, 0, 30, 0, 0, 0, 0, 0, 30, 0, 0, 0, 30, 60, 0, 0, 0, 0, 30,
)  # fmt: skip

TRAINING = {
    "mu": (2.674681, 1.168116), "alpha": (75.266054, 6.288199), "homo": (-6.53693, 0.44054),
    "lumo": (0.321014, 1.052495), "gap": (6.857936, 1.07573), "r2": (1189.050586, 202.333707),
    "zpve": (4056.454995, 716.687977), "u0": (-76.107165, 8.113144), "u": (-76.571599, 8.186588),
    "h": (-77.00933, 8.245446), "g": (-70.828179, 7.459299), "cv": (-22.131639, 4.90746),
}  # fmt: skip
VALIDATION = {
    "mu": (2.675088, 1.175733), "alpha": (75.373431, 6.272772), "homo": (-6.538594, 0.439575),
    "lumo": (0.324581, 1.033771), "gap": (6.863185, 1.061904), "r2": (1190.592106, 203.628044),
    "zpve": (4060.28908, 715.789417), "u0": (-76.192136, 8.102728), "u": (-76.657088, 8.176159),
    "h": (-77.095132, 8.235035), "g": (-70.909612, 7.448677), "cv": (-22.166631, 4.888549),
}  # fmt: skip

DATASETS = {
    "qm9": Published("QM9", QM9, SIZES_QM9, TRAINING),
    "qm9_first_half": Published("the first half of QM9", QM9, SIZES_FIRST_HALF, VALIDATION),
    "qm9_second_half": Published("the second half of QM9", QM9, SIZES_SECOND_HALF, VALIDATION),
    "geom": Published("GEOM-Drugs", GEOM, SIZES_GEOM, {}),
}


def published_dataset(name: str) -> Published:
    """A data set by its published name. Raises CheckpointError for one that is not known."""
    try:
        return DATASETS[name]
    except KeyError:
        raise CheckpointError(
            f"the run was made with the data set {name!r}; known are {', '.join(DATASETS)}."
        ) from None
