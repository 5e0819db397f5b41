"""One picture of how both domains are framed, for a person to see whether the fit is right."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from medi2i.errors import UsageError
from medi2i.framing.appearance import equalize, reduce_film
from medi2i.framing.estimation import FrameEstimate
from medi2i.framing.frame import Frame
from medi2i.framing.placement import Placement
from medi2i.framing.template import Template
from medi2i.image import Radiograph

_SOURCE, _TARGET = "#1f9ede", "#f08a24"
_COLUMNS = 5
_FILM_SIDE = 256
_OUTLINE_LEVEL = 0.5
_MOST_FRAMES = 60
_DOTS_PER_INCH = 100


def choose_examples(estimates: Sequence[FrameEstimate], count: int = 2 * _COLUMNS) -> list[int]:
    """Positions of films worth looking at: accepted ones from worst to best score, then rejected ones."""
    accepted = [number for number, estimate in enumerate(estimates) if estimate.accepted]
    rejected = [number for number, estimate in enumerate(estimates) if not estimate.accepted]
    refused = rejected[: max(count // 5, count - len(accepted))]
    accepted.sort(key=lambda number: estimates[number].score)
    kept = min(len(accepted), count - len(refused))
    spread = np.linspace(0, len(accepted) - 1, kept).round().astype(int)
    return [*(accepted[place] for place in spread), *refused]


def draw_framing(
    templates: Sequence[Template],
    source_frames: Sequence[Frame],
    target_estimates: Sequence[FrameEstimate],
    films: Mapping[int, Radiograph],
) -> bytes:
    """A PNG of both domains' framing, side by side, and of the fit on some films.

    Above: the template most films agree with and the rectangles that images of both domains show of it; how
    heights, shifts and the rest are spread. Below: films with the template's structures drawn where the fit
    says they are (the template's middle grey where it has no structures).

    Args:
        templates: what the films were compared with.
        source_frames: what the DRRs show.
        target_estimates: what each film shows, accepted or not.
        films: some of the films, by their position in `target_estimates` (see `choose_examples`).

    Raises:
        UsageError: there are no estimates.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not target_estimates or not templates:
        raise UsageError(
            "picture of the framing",
            found=f"{len(templates)} templates and {len(target_estimates)} films",
            expected="at least one of each",
            remedy="fit the framing first",
        )
    rows = -(-len(films) // _COLUMNS)
    figure = Figure(figsize=(13, 5.6 + 2.7 * rows), dpi=_DOTS_PER_INCH, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(5.6, max(2.7 * rows, 0.1)))
    left, right = above.subfigures(1, 2, width_ratios=(5, 8))
    accepted = [estimate for estimate in target_estimates if estimate.accepted]
    most_used = Counter(estimate.template for estimate in accepted or target_estimates).most_common(1)[0][0]
    target_frames = [estimate.frame for estimate in accepted]
    _draw_rectangles(left.subplots(), templates[most_used], source_frames, target_frames)
    _draw_spreads(right.subplots(2, 3).ravel(), source_frames, accepted)
    above.suptitle(
        f"{len(accepted)} of {len(target_estimates)} films fit the CT; source frames blue, target orange"
    )
    if films:
        axes = below.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, (number, film) in zip(axes, films.items(), strict=False):
            estimate = target_estimates[number]
            _draw_film(axis, film, estimate, templates[estimate.template])
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def corners_mm(frame: Frame) -> Float64[np.ndarray, "4 2"]:
    """(down, right) of a frame's corners from the isocentre, clockwise from the upper left."""
    place = Placement((frame.height_mm, frame.width_mm), frame.rotation_deg, frame.center_mm)
    down, right = place.to_patient(np.array([-0.5, -0.5, 0.5, 0.5]), np.array([-0.5, 0.5, 0.5, -0.5]))
    return np.stack([down, right], axis=1)


def _draw_rectangles(axis: Any, template: Template, source: Sequence[Frame], target: Sequence[Frame]) -> None:
    """The template in mm from the isocentre, its invalid part darkened, with frames and their medians."""
    frame = template.frame
    (down, right), height, width = frame.center_mm, frame.height_mm, frame.width_mm
    grey = equalize(template.image, template.valid) * np.where(template.valid, 1.0, 0.4)
    extent = (right - width / 2, right + width / 2, down + height / 2, down - height / 2)
    axis.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=extent)
    for frames, color in ((source, _SOURCE), (target, _TARGET)):
        shown = [frames[number] for number in _spread_evenly(len(frames))]
        for each, thickness, opacity in [
            *((f, 0.7, 0.45) for f in shown),
            *((m, 2.5, 1) for m in _median(frames)),
        ]:
            corners = corners_mm(each)[[0, 1, 2, 3, 0]]
            axis.plot(corners[:, 1], corners[:, 0], color=color, linewidth=thickness, alpha=opacity)
    axis.plot(0, 0, "+", color="white")
    axis.use_sticky_edges = False  # else a frame along the picture's edge is drawn on it
    axis.margins(0.03)
    axis.set_aspect("equal")
    axis.set_facecolor("black")
    axis.set_xlabel("mm right of the isocentre")
    axis.set_ylabel("mm below the isocentre")
    axis.invert_yaxis() if axis.get_ylim()[0] < axis.get_ylim()[1] else None


def _draw_spreads(axes: Sequence[Any], source: Sequence[Frame], target: Sequence[FrameEstimate]) -> None:
    frames = [estimate.frame for estimate in target]
    quantities = {
        "height, mm": ([f.height_mm for f in source], [f.height_mm for f in frames]),
        "width, mm": ([f.width_mm for f in source], [f.width_mm for f in frames]),
        "rotation, degrees": ([f.rotation_deg for f in source], [f.rotation_deg for f in frames]),
        "middle below isocentre, mm": ([f.center_mm[0] for f in source], [f.center_mm[0] for f in frames]),
        "middle right of isocentre, mm": ([f.center_mm[1] for f in source], [f.center_mm[1] for f in frames]),
        "stretch, row / column": ([1.0] * len(source), [e.placement.stretch for e in target]),
    }
    for axis, (name, (ours, theirs)) in zip(axes, quantities.items(), strict=True):
        together = [*ours, *theirs]
        low, high = (min(together), max(together)) if together else (0.0, 1.0)
        margin = 0.02 * (high - low) or 0.05 * max(abs(high), 1.0)
        bins = np.linspace(low - margin, high + margin, 22)
        for values, color in ((ours, _SOURCE), (theirs, _TARGET)):
            if values:
                share = np.full(len(values), 100 / len(values))
                axis.hist(values, bins=bins, weights=share, color=color, alpha=0.6)
        axis.set_xlabel(name)
        axis.set_yticks([])
        axis.spines[["top", "left", "right"]].set_visible(False)


def _draw_film(axis: Any, film: Radiograph, estimate: FrameEstimate, template: Template) -> None:
    """A film at the working size, and the template's outlines through the estimated placement."""
    pixels, _ = reduce_film(film.pixels, np.ones_like(film.valid), _FILM_SIDE)
    low, high = np.percentile(film.pixels[film.valid], [1, 99]) if film.valid.any() else (0.0, 1.0)
    axis.imshow(pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    factor = (pixels.shape[0] / film.pixels.shape[0], pixels.shape[1] / film.pixels.shape[1])
    placement = estimate.placement.rescale(factor)
    color = _TARGET if estimate.accepted else "#e03c3c"
    for plane in _outline_planes(template):
        lifted = _through(placement, plane, template, (pixels.shape[0], pixels.shape[1]))
        if lifted.min() < _OUTLINE_LEVEL < lifted.max():
            axis.contour(lifted, [_OUTLINE_LEVEL], colors=[color], linewidths=1)
    said = f"score {estimate.score:.2f}" + ("" if estimate.accepted else f"\n{estimate.reason}")
    axis.set_title(said, fontsize=9, color="black" if estimate.accepted else color)


def _outline_planes(template: Template) -> list[Float64[np.ndarray, "H W"]]:
    if template.outlines:
        return [plane.astype(np.float64) for plane in template.outlines]
    return [np.where(template.valid, equalize(template.image, template.valid), 0.0)]


def _through(
    placement: Placement, plane: Float64[np.ndarray, "h w"], template: Template, shape: tuple[int, int]
) -> Float64[np.ndarray, "H W"]:
    """A plane of the template as the film would show it."""
    from scipy import ndimage

    rows, columns = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    points = template.to_pixels(*placement.to_patient(rows, columns))
    lifted: Float64[np.ndarray, "H W"] = ndimage.map_coordinates(plane, points, order=1, mode="constant")
    return lifted


def _median(frames: Sequence[Frame]) -> list[Frame]:
    """The frame of the medians; none of no frames."""
    if not frames:
        return []
    values = np.median(
        [(f.height_mm, f.width_mm, f.center_mm[0], f.center_mm[1], f.rotation_deg) for f in frames], axis=0
    )
    height, width, down, right, rotation = (float(value) for value in values)
    return [Frame(height, width, (down, right), rotation)]


def _spread_evenly(count: int) -> list[int]:
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, _MOST_FRAMES)).round()})
