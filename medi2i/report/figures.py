"""Figures as inline SVG whose colours are CSS variables, so that they follow a dark page and a print."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from medi2i.report.comparison import STRUCTURE_LIMIT, group_positions, standing
from medi2i.report.results import FEATURE_GROUPS, METHODS, Results
from medi2i.report.wording import fixed, row_name

# Stand-ins that matplotlib draws with; each becomes the CSS variable of its name.
_COLORS = {
    "text": "#010101",
    "rule": "#020202",
    "identity": "#030303",
    "histogram": "#040404",
    "translated": "#050505",
    "band": "#060606",
}
_MARKERS = {"identity": "s", "histogram": "D", "translated": "o"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "medi2i",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": _COLORS["text"],
    "axes.labelcolor": _COLORS["text"],
    "axes.edgecolor": _COLORS["rule"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _COLORS["rule"],
    "ytick.color": _COLORS["rule"],
    "xtick.labelcolor": _COLORS["text"],
    "ytick.labelcolor": _COLORS["text"],
    "legend.frameon": False,
}
_WIDTH_INCHES = 7.6
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
_BINS = 40
_POSITIONS = (-0.5, 2.0)


def distance_figure(results: Results) -> str | None:
    """Where each method stands between real images (0) and doing nothing (1), by feature group.

    Returns:
        an `<svg>` element, or None when doing nothing is in no group further away than real images.
    """
    placed = {row: group_positions(results, row) for row in METHODS}
    if all(placed["identity"][group] is None for group in FEATURE_GROUPS):
        return None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, 2.5), layout="constrained")
        axes = figure.add_subplot()
        _draw_positions(axes, placed, results)
        _draw_bands(axes, results)
        axes.axvline(0, color=_COLORS["rule"], linewidth=1, zorder=1)
        axes.set_yticks(range(len(FEATURE_GROUPS)), [name.capitalize() for name in FEATURE_GROUPS])
        axes.set_ylim(len(FEATURE_GROUPS) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("position: 0 = real against real, 1 = doing nothing")
        figure.legend(loc="outside upper left", ncols=3, borderaxespad=0, handletextpad=0.3)
        return _svg(figure, "distance")


def structure_figure(results: Results) -> str | None:
    """Gradient correlation: one count an image of this run, and the 5th to 95th percentile of each method.

    Returns:
        an `<svg>` element, or None when no image has a defined value.
    """
    values = [i.gradient_correlation for i in results.images if i.gradient_correlation is not None]
    if not values:
        return None
    low = min(0.5, min(values))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, 3.3), layout="constrained")
        counts, ranges = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        edges = [low + (1 - low) * step / _BINS for step in range(_BINS + 1)]
        counts.hist(values, bins=edges, color=_COLORS["translated"])
        counts.set_ylabel("images")
        counts.yaxis.get_major_locator().set_params(integer=True)
        _draw_ranges(ranges, results)
        for axes in (counts, ranges):
            axes.axvline(STRUCTURE_LIMIT, color=_COLORS["text"], linewidth=1, linestyle=(0, (4, 3)))
        counts.annotate(
            f"limit {STRUCTURE_LIMIT}", (STRUCTURE_LIMIT, 1), xycoords=("data", "axes fraction"),
            xytext=(-4, -2), textcoords="offset points", ha="right", va="top",
        )  # fmt: skip
        ranges.set_xlim(low - 0.01, 1.01)
        ranges.set_xlabel("gradient correlation with the source (1: every edge as it was)")
        return _svg(figure, "structure")


def _draw_positions(axes: Any, placed: dict[str, dict[str, float | None]], results: Results) -> None:
    for name in METHODS:
        known = [(x, y) for y, group in enumerate(FEATURE_GROUPS) if (x := placed[name][group]) is not None]
        axes.plot(
            [_within(x) for x, _ in known],
            [y for _, y in known],
            linestyle="none",
            marker=_MARKERS[name],
            markersize=8 if name == "translated" else 7,
            color=_COLORS[name],
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
                [min(0, *reached), max(0, *reached)], [y, y], color=_COLORS["rule"], linewidth=1, zorder=1
            )
        else:
            axes.annotate("no gap to close", (0, y), xytext=(8, 0), textcoords="offset points", va="center")


def _draw_bands(axes: Any, results: Results) -> None:
    """What chance alone does: twice the floor's standard deviation to either side, on each group's scale."""
    for y, group in enumerate(FEATURE_GROUPS):
        where = standing(results, group)
        if where.gap and where.identity is not None:
            width = where.spread / (where.identity - where.floor)
            axes.barh(y, 4 * width, left=-2 * width, height=0.7, color=_COLORS["band"], zorder=0)


def _within(x: float) -> float:
    """A position kept on the figure: where the gap is narrow, ratios to it have no bounds."""
    return min(max(x, _POSITIONS[0]), _POSITIONS[1])


def _draw_ranges(axes: Any, results: Results) -> None:
    for y, name in enumerate(METHODS):
        summary = getattr(results.structure, name).gradient_correlation
        if summary.median is None:
            continue
        axes.plot([summary.p5, summary.p95], [y, y], color=_COLORS[name], linewidth=2, solid_capstyle="butt")
        axes.plot([summary.median], [y], marker=_MARKERS[name], markersize=7, color=_COLORS[name])
    axes.set_yticks(range(len(METHODS)), [row_name(name, results.run.method) for name in METHODS])
    axes.set_ylim(len(METHODS) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _svg(figure: Figure, name: str) -> str:
    """The `<svg>` element alone, without metadata, ready to stand in a page under a name of its own."""
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata=_NO_METADATA)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for color_name, color in _COLORS.items():
        text = text.replace(color, f"var(--{color_name})")
    # ids are unique within a figure only, and a page has several
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    # hidden from assistive technology, which reads the label around it; as wide as the page lets it be
    return re.sub(r'<svg ([^>]*?)height="[^"]*" ', r'<svg aria-hidden="true" \1', text, count=1)
