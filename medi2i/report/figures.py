"""The figures of what `medi2i adapt` measures: distance and structure."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from medi2i.report.comparison import STRUCTURE_LIMIT, below_limit, group_positions, standing
from medi2i.report.drawing import COLORS, MARKERS, Drawing, draw
from medi2i.report.results import FEATURE_GROUPS, METHODS, Results
from medi2i.report.wording import counted, fixed, row_name

_BINS = 40
_POSITIONS = (-0.5, 2.0)


def distance_figure(results: Results) -> Drawing | None:
    """Where each method stands between real images (0) and doing nothing (1), by feature group.

    Returns:
        None when doing nothing is in no group further away than real images.
    """
    placed = {row: group_positions(results, row) for row in METHODS}
    if all(placed["identity"][group] is None for group in FEATURE_GROUPS):
        return None

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        _draw_positions(axes, placed, results)
        _draw_bands(axes, results)
        axes.axvline(0, color=COLORS["rule"], linewidth=1, zorder=1)
        axes.set_yticks(range(len(FEATURE_GROUPS)), [name.capitalize() for name in FEATURE_GROUPS])
        axes.set_ylim(len(FEATURE_GROUPS) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("position (no unit): 0 = real against real, 1 = doing nothing")
        figure.legend(loc="outside upper left", ncols=3, borderaxespad=0, handletextpad=0.3)

    images = (
        f"{counted(len(results.images), 'image')} to {results.data.target.splits.get('test', 0):,} held-out"
    )
    caption = (
        f"Each feature group on its own scale; {images} target images. Further left is nearer to the target; "
        "left of 0 is chance. The bands are twice the floor's standard deviation to either side."
    )
    return Drawing(draw("distance", 2.5, paint), _distance_words(placed, results), caption)


def structure_figure(results: Results) -> Drawing | None:
    """Gradient correlation: one count an image of this run, and the 5th to 95th percentile of each method.

    Returns:
        None when no image has a defined value.
    """
    values = [i.gradient_correlation for i in results.images if i.gradient_correlation is not None]
    if not values:
        return None
    low = min(0.5, min(values))

    def paint(figure: Figure) -> None:
        counts, ranges = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        edges = [low + (1 - low) * step / _BINS for step in range(_BINS + 1)]
        counts.hist(values, bins=edges, color=COLORS["translated"])
        counts.set_ylabel("images")
        counts.yaxis.get_major_locator().set_params(integer=True)
        _draw_ranges(ranges, results)
        for axes in (counts, ranges):
            axes.axvline(STRUCTURE_LIMIT, color=COLORS["text"], linewidth=1, linestyle=(0, (4, 3)))
        counts.annotate(
            f"limit {STRUCTURE_LIMIT}", (STRUCTURE_LIMIT, 1), xycoords=("data", "axes fraction"),
            xytext=(-4, -2), textcoords="offset points", ha="right", va="top",
        )  # fmt: skip
        ranges.set_xlim(low - 0.01, 1.01)
        ranges.set_xlabel("gradient correlation with the source (no unit; 1: every edge as it was)")

    few, defined = below_limit(results)
    words = (
        f"Histogram of gradient correlation: {counted(defined, 'image')} from {fixed(min(values), 2)} to "
        f"{fixed(max(values), 2)}, {few:,} below the limit of {STRUCTURE_LIMIT}. Medians: "
        + ", ".join(
            f"{row_name(name, results.run.method)} "
            + fixed(getattr(results.structure, name).gradient_correlation.median, 2)
            for name in METHODS
        )
        + "."
    )
    caption = (
        f"Above: {counted(defined, 'image')} of this run. Below: median and 5th to 95th percentile of each "
        "method."
    )
    return Drawing(draw("structure", 3.3, paint), words, caption)


def _distance_words(placed: dict[str, dict[str, float | None]], results: Results) -> str:
    said = [
        f"{row_name(name, results.run.method)}: "
        + ", ".join(f"{group} {fixed(placed[name][group], 2)}" for group in FEATURE_GROUPS)
        for name in METHODS
    ]
    return f"Positions between real images (0) and doing nothing (1), by feature group. {'; '.join(said)}."


def _draw_positions(axes: Any, placed: dict[str, dict[str, float | None]], results: Results) -> None:
    for name in METHODS:
        known = [(x, y) for y, group in enumerate(FEATURE_GROUPS) if (x := placed[name][group]) is not None]
        axes.plot(
            [_within(x) for x, _ in known],
            [y for _, y in known],
            linestyle="none",
            marker=MARKERS[name],
            markersize=8 if name == "translated" else 7,
            color=COLORS[name],
            label=row_name(name, results.run.method),
            zorder=3 if name == "translated" else 2,
        )
        for x, y in known:
            if x != _within(x):
                shift = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "va": "bottom"}
                axes.annotate(f"{fixed(x, 1)} (beyond)", (_within(x), y), **shift)
    for y, group in enumerate(FEATURE_GROUPS):
        reached = [_within(x) for name in METHODS if (x := placed[name][group]) is not None]
        if reached:
            axes.plot(
                [min(0, *reached), max(0, *reached)], [y, y], color=COLORS["rule"], linewidth=1, zorder=1
            )
        else:
            axes.annotate("no gap to close", (0, y), xytext=(8, 0), textcoords="offset points", va="center")


def _draw_bands(axes: Any, results: Results) -> None:
    """What chance alone does: twice the floor's standard deviation to either side, on each group's scale."""
    for y, group in enumerate(FEATURE_GROUPS):
        where = standing(results, group)
        if where.gap and where.identity is not None:
            width = where.spread / (where.identity - where.floor)
            axes.barh(y, 4 * width, left=-2 * width, height=0.7, color=COLORS["band"], zorder=0)


def _within(x: float) -> float:
    """A position kept on the figure: where the gap is narrow, ratios to it have no bounds."""
    return min(max(x, _POSITIONS[0]), _POSITIONS[1])


def _draw_ranges(axes: Any, results: Results) -> None:
    for y, name in enumerate(METHODS):
        summary = getattr(results.structure, name).gradient_correlation
        if summary.median is None:
            continue
        axes.plot([summary.p5, summary.p95], [y, y], color=COLORS[name], linewidth=2, solid_capstyle="butt")
        axes.plot([summary.median], [y], marker=MARKERS[name], markersize=7, color=COLORS[name])
    axes.set_yticks(range(len(METHODS)), [row_name(name, results.run.method) for name in METHODS])
    axes.set_ylim(len(METHODS) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
