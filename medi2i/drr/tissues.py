"""What an anatomy is made of: solids, chains of beads along a curve, and their attenuation.

The rule that keeps line integrals exact: every piece carries the *difference* of its attenuation to what
encloses it. A lung inside muscle subtracts, a rib in the chest wall adds, the marrow inside a rib's cortex
subtracts again. Solids of one enclosure must not overlap unless one is carved by the other; chains are too
small for an overlap to matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64

from medi2i.drr.ellipsoids import Ellipsoids, chord_sums, solid_length
from medi2i.drr.geometry import ConeBeamGeometry

# linear attenuation near 70 keV, 1/mm (water 0.0193), from mass attenuation x density
AIR = 0.0
LUNG = 0.0048
FAT = 0.0178
MUSCLE = 0.0203
BLOOD = 0.0206
MARROW = 0.0235
CORTEX = 0.0430

# beads over each point of a chain's axis: 13.3237 / pi with the fourth zero of the Bessel function J1, the
# spectrum of a bead's profile sqrt(1 - s²), so that evenly spaced beads add up without ripple
_OVERLAP = 4.24107


@dataclass(frozen=True, slots=True)
class Solid:
    """A union of ellipsoids, less another union.

    Attributes:
        name: structure it belongs to.
        attenuation_per_mm: difference to the enclosing tissue.
        inside, carved_by: the two unions.
    """

    name: str
    attenuation_per_mm: float
    inside: Ellipsoids
    carved_by: Ellipsoids = field(default_factory=Ellipsoids.join)

    def transform(self, matrix: np.ndarray, translation_mm: np.ndarray) -> Solid:
        """The affine image."""
        return replace(
            self,
            inside=self.inside.transform(matrix, translation_mm),
            carved_by=self.carved_by.transform(matrix, translation_mm),
        )

    def project(self, geometry: ConeBeamGeometry) -> Float64[np.ndarray, "2 H W"]:
        """Path length in mm, and its contribution to the line integral."""
        length_mm = solid_length(self.inside, self.carved_by, geometry)
        return np.stack([length_mm, self.attenuation_per_mm * length_mm])


@dataclass(frozen=True, slots=True)
class Chain:
    """Many small ellipsoids that add up, each counted with a fraction because neighbours overlap.

    Attributes:
        name: structure it belongs to.
        ellipsoids: N beads.
        occupancy: (N,) share of its chord that counts as path length; 0 for what lies in another bead.
        attenuation_per_mm: (N,) difference to the enclosing tissue; its chord counts with the same share.
    """

    name: str
    ellipsoids: Ellipsoids
    occupancy: Float64[np.ndarray, " N"]
    attenuation_per_mm: Float64[np.ndarray, " N"]

    def transform(self, matrix: np.ndarray, translation_mm: np.ndarray) -> Chain:
        """The affine image; overlaps are affine invariant, so the shares stay right."""
        return replace(self, ellipsoids=self.ellipsoids.transform(matrix, translation_mm))

    def project(self, geometry: ConeBeamGeometry) -> Float64[np.ndarray, "2 H W"]:
        """Path length in mm, and its contribution to the line integral."""
        weights = np.stack([self.occupancy, self.attenuation_per_mm])
        return chord_sums(self.ellipsoids, weights, geometry)


Tissue = Solid | Chain


def join_chains(name: str, *chains: Chain) -> Chain:
    """One structure made of several chains."""
    return Chain(
        name,
        Ellipsoids.join(*(chain.ellipsoids for chain in chains)),
        np.concatenate([chain.occupancy for chain in chains]),
        np.concatenate([chain.attenuation_per_mm for chain in chains]),
    )


def make_tube(
    name: str,
    curve_mm: np.ndarray,
    radii_mm: np.ndarray,
    attenuation_per_mm: float,
    *,
    up: tuple[float, float, float] = (0.0, 0.0, 1.0),
    step_mm: float = 6.0,
    occupied: bool = True,
) -> Chain:
    """A tube of overlapping beads along a curve.

    Args:
        name: structure.
        curve_mm: (M, 3) polyline, M >= 2.
        radii_mm: (2,) or (M, 2) semi-axes across the curve: along `up` (made perpendicular), and sideways.
        attenuation_per_mm: difference to the enclosing tissue on the axis; beads thin out to the rim.
        up: direction of the first radius.
        step_mm: distance of beads along the curve.
        occupied: whether the tube adds path length (False for marrow inside a bone).
    """
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve_mm, axis=0), axis=1))])
    count = max(2, round(lengths[-1] / step_mm) + 1)
    places = np.linspace(0.0, lengths[-1], count)
    radii = np.broadcast_to(np.asarray(radii_mm, dtype=np.float64), (len(curve_mm), 2))
    centers = np.stack([np.interp(places, lengths, curve_mm[:, i]) for i in range(3)], axis=1)
    across = np.stack([np.interp(places, lengths, radii[:, i]) for i in range(2)], axis=1)
    tangents = _unit(np.gradient(centers, axis=0))
    upwards = _unit(np.asarray(up) - (tangents @ np.asarray(up))[:, None] * tangents)
    frames = np.stack([tangents, upwards, np.cross(tangents, upwards)], axis=2)
    half_length = np.full((count, 1), lengths[-1] / (count - 1) * _OVERLAP / 2)
    share = np.full(count, 1.0 / _OVERLAP)
    return Chain(
        name,
        Ellipsoids.from_axes(centers, np.hstack([half_length, across]), frames),
        share * occupied,
        share * attenuation_per_mm,
    )


def make_bone(
    name: str,
    curve_mm: np.ndarray,
    radii_mm: np.ndarray,
    *,
    density: float = 1.0,
    marrow_fraction: float = 0.72,
    up: tuple[float, float, float] = (0.0, 0.0, 1.0),
    step_mm: float = 6.0,
) -> Chain:
    """A tube of cortex in muscle, with marrow inside: the rim shows brighter than the middle.

    Args:
        name, curve_mm, radii_mm, up, step_mm: as in `make_tube`.
        density: 1 for an average adult; scales the contrast to muscle.
        marrow_fraction: marrow's radii relative to the bone's.
    """
    inner = np.asarray(radii_mm) * marrow_fraction
    shell = make_tube(name, curve_mm, radii_mm, density * (CORTEX - MUSCLE), up=up, step_mm=step_mm)
    marrow_step = density * (MARROW - CORTEX)
    marrow = make_tube(name, curve_mm, inner, marrow_step, up=up, step_mm=step_mm, occupied=False)
    return join_chains(name, shell, marrow)


def make_beads(
    name: str,
    ellipsoids: Ellipsoids,
    *,
    density: float = 1.0,
    marrow_fraction: float = 0.8,
    share: float = 1.0,
) -> Chain:
    """Separate bones, each an ellipsoid of cortex with an ellipsoid of marrow inside.

    Args:
        name: structure.
        ellipsoids: outer surfaces.
        density: 1 for an average adult; scales the contrast to muscle.
        marrow_fraction: marrow's semi-axes relative to the bone's; 0 for none.
        share: share that counts where the beads overlap one another.
    """
    count = len(ellipsoids)
    outer = np.full(count, share * density * (CORTEX - MUSCLE))
    shell = Chain(name, ellipsoids, np.full(count, share), outer)
    if marrow_fraction <= 0:
        return shell
    inner = np.full(count, share * density * (MARROW - CORTEX))
    return join_chains(name, shell, Chain(name, ellipsoids.resize(marrow_fraction), np.zeros(count), inner))


def rotation_about(axis: int, degrees: float) -> Float64[np.ndarray, "3 3"]:
    """Right-handed rotation about x (0), y (1) or z (2)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix[first, first] = matrix[second, second] = cosine
    matrix[second, first], matrix[first, second] = sine, -sine
    return matrix


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms: np.ndarray = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)
