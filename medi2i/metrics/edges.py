"""Where edges are, and how far a translation moved them."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

EDGE_SCALE_PX = 1.5
EDGE_FRACTION = 0.1
# Gradient, in units of [-1, 1] a pixel, below which a maximum is rounding and not an edge.
MINIMUM_GRADIENT = 1e-6
_TRUNCATE = 3.0
_NEIGHBOURHOOD = 4.0
_DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))


def find_edges(
    image: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
    *,
    scale_px: float = EDGE_SCALE_PX,
    fraction: float = EDGE_FRACTION,
    locally: bool = False,
) -> Bool[np.ndarray, "H W"]:
    """Thin edges: maxima of the gradient magnitude across the edge, among its largest values.

    As in Canny (IEEE PAMI 1986), without hysteresis: smoothing by a Gaussian, central differences,
    non-maximum suppression in 4 directions, and a threshold at a quantile of the image's own magnitudes, so
    that contrast does not matter. A valid pixel that is not finite leaves no edge in the image.

    Args:
        image: one image.
        valid: pixels from which an invalid pixel is within reach of smoothing and differences are no edges.
        scale_px: sigma of the Gaussian.
        fraction: share of the usable pixels whose magnitude is large enough for an edge.
        locally: count maxima, too, that exceed the root mean square of the magnitudes around them (Gaussian
            of 4 times the scale), so that a change of tone, which weakens all edges of a region, loses none.
    """
    values = np.asarray(image, dtype=np.float64)
    if valid is not None:
        values = np.where(valid, values, 0.0)
    if not np.isfinite(values).all():
        return np.zeros(values.shape, dtype=bool)
    smooth = ndimage.gaussian_filter(values, scale_px, mode="nearest", truncate=_TRUNCATE)
    along_rows, along_columns = np.gradient(smooth)
    magnitude = np.hypot(along_rows, along_columns)
    usable = _usable(magnitude, valid, math.ceil(_TRUNCATE * scale_px) + 2)
    if not usable.any():
        return usable
    large = magnitude >= np.quantile(magnitude[usable], 1 - fraction)
    if locally:
        large |= magnitude >= _local_rms(magnitude, usable, _NEIGHBOURHOOD * scale_px)
    ridge = _is_ridge(magnitude, along_rows, along_columns)
    return ridge & usable & large & (magnitude >= MINIMUM_GRADIENT)


def edge_displacement(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
    *,
    spacing_mm: tuple[float, float] | None,
    scale_px: float = EDGE_SCALE_PX,
    fraction: float = EDGE_FRACTION,
) -> dict[str, float]:
    """Distance from each source edge to the nearest edge of the translation: median and 95th percentile.

    A lower bound of how far edges moved: along an edge a shift is invisible, and another edge may be nearer.
    A strong tone curve moves the steepest point of wide, soft edges: on chest DRRs of 128 and 256 px, gamma
    0.5, gamma 2 and a sigmoid gave medians up to 1 px and 95th percentiles up to 8 px, shifts by 2 and 4 px
    medians of 1.4 and 2.5. So a median within 1 px is no evidence of movement, and the percentile needs
    controls of tone beside it. NaN when the source has no edge; the image's diagonal when only the
    translation has none, so that an image that was wiped out is the worst and not left out.

    Args:
        source, translated: images on the same pixel grid.
        valid: where both are images.
        spacing_mm: (row, column), or None when unknown: distances are then in pixels.
        scale_px, fraction: see `find_edges`.

    Returns:
        `median_mm` and `p95_mm`, or `median_px` and `p95_px` without a spacing.
    """
    unit = "px" if spacing_mm is None else "mm"
    spacing = (1.0, 1.0) if spacing_mm is None else spacing_mm
    from_edges = find_edges(source, valid, scale_px=scale_px, fraction=fraction)
    to_edges = find_edges(translated, valid, scale_px=scale_px, fraction=fraction, locally=True)
    if not from_edges.any():
        return {f"median_{unit}": math.nan, f"p95_{unit}": math.nan}
    if not to_edges.any():
        diagonal = math.hypot(source.shape[0] * spacing[0], source.shape[1] * spacing[1])
        return {f"median_{unit}": diagonal, f"p95_{unit}": diagonal}
    distance = ndimage.distance_transform_edt(~to_edges, sampling=spacing)[from_edges]
    median, p95 = np.percentile(distance, [50, 95])
    return {f"median_{unit}": float(median), f"p95_{unit}": float(p95)}


def _usable(magnitude: np.ndarray, valid: np.ndarray | None, reach_px: int) -> Bool[np.ndarray, "H W"]:
    if valid is None:
        return np.ones(magnitude.shape, dtype=bool)
    return ndimage.minimum_filter(
        np.asarray(valid, dtype=bool), size=2 * reach_px + 1, mode="constant", cval=True
    )


def _local_rms(magnitude: np.ndarray, usable: np.ndarray, sigma_px: float) -> Float[np.ndarray, "H W"]:
    weight = ndimage.gaussian_filter(usable.astype(np.float64), sigma_px, mode="nearest")
    power = ndimage.gaussian_filter(np.where(usable, magnitude**2, 0.0), sigma_px, mode="nearest")
    return np.sqrt(power / np.maximum(weight, 1e-12))


def _is_ridge(
    magnitude: Float[np.ndarray, "H W"],
    along_rows: Float[np.ndarray, "H W"],
    along_columns: Float[np.ndarray, "H W"],
) -> Bool[np.ndarray, "H W"]:
    """Whether a magnitude is a maximum along its gradient's direction, rounded to 45 degrees."""
    direction = np.rint(np.arctan2(along_rows, along_columns) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(magnitude, 1, mode="constant")
    height, width = magnitude.shape
    ridge = np.zeros(magnitude.shape, dtype=bool)
    for index, (row, column) in enumerate(_DIRECTIONS):
        ahead = padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]
        behind = padded[1 - row : 1 - row + height, 1 - column : 1 - column + width]
        # strict on one side only: a plateau of two equal pixels gives one edge pixel, not none or two
        ridge |= (direction == index) & (magnitude >= ahead) & (magnitude > behind)
    return ridge
