"""An analytic patient: blobs in the plane of the isocentre, so that every image of it has a known frame."""

import numpy as np

from medi2i.framing.placement import Placement
from medi2i.framing.search import SearchConfig
from medi2i.framing.template import Template

QUICK = SearchConfig(working_size=96, sizes=7, stretches=3, starts=2)


def blobs(down: np.ndarray, right: np.ndarray, patient: int = 0) -> np.ndarray:
    """Value of one patient at points in mm, positive."""
    rng = np.random.default_rng(patient)
    total = np.full(np.shape(down), 6.0)
    for _ in range(45):
        middle, size = rng.uniform(-200, 200, size=2), rng.uniform(10, 32)
        height = rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.5)
        total += height * np.exp(-((down - middle[0]) ** 2 + (right - middle[1]) ** 2) / (2 * size**2))
    return total


def make_template(patient: int = 0, rows: int = 100, columns: int = 110, spacing_mm: float = 3.0) -> Template:
    """The patient's straight view, its isocentre away from the middle."""
    isocenter = ((rows - 1) / 2 + 4.0, (columns - 1) / 2 - 6.0)
    down, right = np.meshgrid(
        (np.arange(rows) - isocenter[0]) * spacing_mm,
        (np.arange(columns) - isocenter[1]) * spacing_mm,
        indexing="ij",
    )
    valid = np.ones((rows, columns), dtype=bool)
    valid[:3] = False
    image = np.where(valid, blobs(down, right, patient), 0.0)
    return Template(image, (spacing_mm, spacing_mm), isocenter, valid)


def make_film(placement: Placement, shape: tuple[int, int], patient: int = 0) -> np.ndarray:
    """What a film at `placement` shows, after a monotone tone curve."""
    rows, columns = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    return 255 * (1 - np.exp(-0.3 * blobs(*placement.to_patient(rows, columns), patient)))
