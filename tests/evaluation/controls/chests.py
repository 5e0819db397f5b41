"""Drawn chests: lungs, ribs, heart, spine and vessels as a DRR would show them, and as a film would."""

import numpy as np
from scipy import ndimage

from medi2i.evaluation.controls import Pair

SIDE = 144


def chest(seed: int) -> Pair:
    """A DRR and its honest film in one pose; every seed is another patient."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    wide, high, low = rng.uniform(0.16, 0.19), rng.uniform(0.34, 0.4), rng.uniform(-0.03, 0.03)

    def ellipse(row: float, column: float, tall: float, broad: float) -> np.ndarray:
        return np.hypot((rows - row - low) / tall, (columns - column) / broad) < 1

    masks = {
        "right_lung": ellipse(0.48, 0.28, high, wide),
        "left_lung": ellipse(0.48, 0.72, high, wide),
        "heart": ellipse(0.62, 0.57, 0.15, rng.uniform(0.12, 0.15)),
        "spine": np.abs(columns - 0.5) < 0.05,
    }
    arcs = (rows - low + 0.5 * np.abs(columns - 0.5) ** 1.5 * rng.uniform(0.8, 1.2)) * 9 + rng.uniform(0, 1)
    masks["ribs"] = (arcs % 1 < 0.3) & (np.abs(columns - 0.5) < 0.45) & (rows > 0.15) & (rows < 0.8)
    lungs = (masks["right_lung"] | masks["left_lung"]) & ~masks["heart"] & ~masks["spine"]
    vessels = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 1.5) * 3
    path = 1.0 - 0.6 * lungs + 0.15 * masks["heart"] + 0.5 * masks["spine"] + 0.1 * masks["ribs"]
    source = ndimage.gaussian_filter(path, 0.8) + 0.025 * ndimage.gaussian_filter(lungs * vessels, 0.8)
    source = source + 0.2 * (rows - 0.5)
    source = np.clip(2 * (source - 0.3) / 1.4 - 1, -1, 1).astype(np.float32)
    film = np.tanh(1.8 * (source + 0.1)) + 0.15 * np.sin(4 * columns + seed) * (0.5 + rows)
    film = ndimage.gaussian_filter(film, 0.6) + rng.normal(size=film.shape) * 0.01
    film = np.clip(film, -1, 1).astype(np.float32)
    return Pair(source, film, np.ones(source.shape, dtype=bool), masks, f"patient-{seed}")
