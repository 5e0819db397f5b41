"""Pulmonary vessels: trees that leave the hila and taper into the lungs."""

from __future__ import annotations

import numpy as np

from medi2i.drr.ellipsoids import Ellipsoids
from medi2i.drr.organs import lung_carvers, lung_shape
from medi2i.drr.physique import Physique
from medi2i.drr.tissues import LUNG, MUSCLE, Chain

_GENERATIONS = 6
_TRUNKS = 8


def build_vessels(physique: Physique) -> list[Chain]:
    """Both trees, cut off where they would leave aerated lung."""
    rng = np.random.default_rng(physique.detail_seed)
    carvers = lung_carvers(physique)
    return [_build_tree(side, physique, carvers, rng) for side in (-1.0, 1.0)]


def _build_tree(side: float, physique: Physique, carvers: Ellipsoids, rng: np.random.Generator) -> Chain:
    starts, ends, radii = _grow(side, physique.vessel_size, rng)
    middle = (starts + ends) / 2
    lung = lung_shape(side, physique).resize(0.95)
    kept = lung.contain(middle).any(axis=1) & ~carvers.contain(middle).any(axis=1)
    along = (ends - starts)[kept] / 2
    half_length = np.linalg.norm(along, axis=1, keepdims=True)
    axis = along / half_length
    across = np.cross(axis, rng.normal(size=axis.shape))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    frames = np.stack([axis, across, np.cross(axis, across)], axis=2)
    semi_axes = np.hstack([half_length * 1.4, radii[kept, None], radii[kept, None]])
    difference = MUSCLE - LUNG * physique.lung_density
    return Chain(
        "vessels",
        Ellipsoids.from_axes(middle[kept], semi_axes, frames),
        np.ones(kept.sum()),
        np.full(kept.sum(), difference),
    )


def _grow(
    side: float, vessel_size: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start and end (N, 3) and radius (N,) of every branch; each splits in two, narrower and shorter."""
    hilum = np.array([side * 33.0, 6.0, 14.0 if side < 0 else 22.0])
    # more and wider trunks to the bases, as in an upright patient
    tilt = np.deg2rad(np.linspace(-78.0, 72.0, _TRUNKS)) + rng.normal(0.0, 0.12, _TRUNKS)
    depth = rng.uniform(-0.75, 0.75, _TRUNKS)
    direction = np.stack([side * np.cos(tilt), depth, np.sin(tilt)], axis=1)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    start = hilum + rng.normal(0.0, 4.0, (_TRUNKS, 3))
    radius = vessel_size * np.where(tilt < 0, 5.2, 4.0)
    segments = []
    for generation in range(_GENERATIONS):
        length = 23.0 * 0.9**generation * rng.uniform(0.8, 1.25, len(start))
        end = start + length[:, None] * direction
        segments.append((start, end, radius))
        turn = np.concatenate([rng.normal(0.0, 0.36, direction.shape) for _ in range(2)])
        start, direction = np.tile(end, (2, 1)), np.tile(direction, (2, 1)) + turn
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        radius = np.tile(radius, 2) * rng.uniform(0.6, 0.85, len(start))
    starts, ends, radii = (np.concatenate(part) for part in zip(*segments, strict=True))
    return starts, ends, radii
