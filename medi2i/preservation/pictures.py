"""What a clinician looks at of an image that is furthest beyond a threshold."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float

from medi2i.evaluation.controls import Pair, PairFindings
from medi2i.evaluation.outputs import write_picture
from medi2i.io.atomic import write_bytes_atomically
from medi2i.preservation.structures import length_px

_DOTS_PER_INCH = 100
_INCHES = 4.6
_OPAQUE = 0.75


def draw_worst(
    folder: Path,
    name: str,
    pair: Pair,
    findings: PairFindings,
    *,
    geometry_px: float | None,
    content: float | None,
) -> tuple[Path, Path, Path]:
    """Source | translated; how far each part moved; and what the source does not explain.

    Args:
        folder: where they are written.
        name: their names begin with.
        pair, findings: the image.
        geometry_px, content: thresholds, marked on the colour bars; None without.

    Returns:
        the three pictures, in this order.
    """
    picture, heat_map, content_map = (folder / f"{name}{part}.png" for part in ("", "-moved", "-content"))
    write_picture(picture, np.concatenate([pair.source, pair.translated], axis=1))
    moved = np.where(findings.deformation.structured, length_px(findings), np.nan)
    top = max(1.5 * (geometry_px or 0.0), _largest(moved), 0.1)
    _draw_over(heat_map, pair.translated, moved, (0.0, top), "inferno", "moved, px", geometry_px)
    z = np.where(findings.content.counted, findings.content.z, np.nan)
    top = max(1.5 * (content or 0.0), _largest(np.abs(z)), 1.0)
    label = "not in the source, robust standard deviations (+ brighter)"
    _draw_over(content_map, pair.translated, z, (-top, top), "PuOr_r", label, content)
    return picture, heat_map, content_map


def _largest(values: np.ndarray) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0


def _draw_over(
    path: Path,
    image: Float[np.ndarray, "H W"],
    values: Float[np.ndarray, "H W"],
    limits: tuple[float, float],
    colours: str,
    label: str,
    threshold: float | None,
) -> None:
    """Values in colour over a grey image, nothing where they are undefined, with a bar that says the unit."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = image.shape
    figure = Figure(
        figsize=(_INCHES * columns / rows + 0.9, _INCHES), dpi=_DOTS_PER_INCH, layout="constrained"
    )
    axes = figure.subplots()
    axes.imshow(image, cmap="gray", vmin=-1, vmax=1)
    shown = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], alpha=_strength(values, limits))
    axes.set_axis_off()
    bar = figure.colorbar(shown, ax=axes, fraction=0.05)
    bar.set_label(label)
    bar.solids.set_alpha(1)
    for mark in () if threshold is None else (threshold, -threshold):
        if limits[0] <= mark <= limits[1]:
            bar.ax.axhline(mark, color="#1f9e89", linewidth=2)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    write_bytes_atomically(path, stream.getvalue())


def _strength(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Small values are nearly transparent, so that the anatomy is seen."""
    share = np.abs(np.nan_to_num(values)) / max(abs(limits[0]), abs(limits[1]))
    return np.asarray(_OPAQUE * np.clip(0.25 + share, 0, 1) * np.isfinite(values))
