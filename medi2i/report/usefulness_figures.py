"""The figures of usefulness: gap closed, Dice by labelled patients, usefulness against what was kept."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from medi2i.report.comparison import standing
from medi2i.report.drawing import COLORS, MARKERS, Drawing, draw
from medi2i.report.results import METHODS, Results
from medi2i.report.schema.downstream import BudgetPoint, Downstream, RowGap
from medi2i.report.schema.verdict import GapClosed
from medi2i.report.wording import counted, fixed, patients_words, row_name, span

_LABEL_WIDTH = 36  # characters of a row's name on one line
_ROW_INCHES = 0.27
_SPAN = (-150.0, 160.0)  # per cent of the gap that are drawn; beyond is said in words
_BUDGET_LINES = {"with the adapter": "translated", "without": "identity", "oracle": "histogram"}
_ROW_OF = {"identity": "source only", "histogram": "histogram", "translated": "adapter"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a forest plot: per cent of the gap with interval, and whether an adapter translated."""

    name: str
    estimate: float
    low: float | None
    high: float | None
    adapter: bool


def gap_figure(downstream: Downstream) -> Drawing | None:
    """Forest plot of gap closed; None where no row has one."""
    bars = [
        bar for row in downstream.rows if (bar := gap_bar(row.name, row.gap_closed, row.adapter)) is not None
    ]
    films, settings = downstream.films, downstream.settings
    unit = (
        f"{counted(films.n_images, 'film')}, {patients_words(films.n_patients)}, "
        f"{counted(len(settings.seeds), 'seed')}"
    )
    refused = [row.name for row in downstream.rows if row.gap_closed and row.gap_closed.estimate is None]
    left_out = f" Without a share: {', '.join(refused)}." if refused else ""
    return forest("gap", bars, f"{unit}.{left_out}") if bars else None


def gap_bar(name: str, gap: RowGap | GapClosed | None, adapter: bool) -> Bar | None:
    """A share of the gap as a line of the plot; None where there is none."""
    if gap is None or gap.estimate is None:
        return None
    known = gap.low is not None and gap.high is not None
    low, high = (100 * (gap.low or 0), 100 * (gap.high or 0)) if known else (None, None)
    return Bar(name, 100 * gap.estimate, low, high, adapter)


def forest(name: str, bars: Sequence[Bar], unit: str) -> Drawing:
    """Forest plot of gap closed.

    Args:
        name: of the figure within its page.
        bars: from top to bottom, at least one.
        unit: what it is over, as one sentence or more.
    """
    height = 0.8 + _ROW_INCHES * sum(len(_lines(bar.name)) for bar in bars)
    words = "; ".join(f"{bar.name} {fixed(bar.estimate, 0)} % ({span(bar.low, bar.high, 0)})" for bar in bars)
    caption = (
        f"Gap closed (%) with its 95 % interval; {unit} 0 % is source only, 100 % the oracle. "
        "Filled circles: with the adapter; open squares: without."
    )
    return Drawing(
        draw(name, height, lambda figure: _paint_forest(figure, bars)),
        f"Forest plot of gap closed, 0 % is source only and 100 % the oracle, with 95 % intervals: {words}.",
        caption,
    )


def _paint_forest(figure: Figure, bars: Sequence[Bar]) -> None:
    axes = figure.add_subplot()
    for y, bar in enumerate(bars):
        color = COLORS["translated" if bar.adapter else "text"]
        if bar.low is not None and bar.high is not None:
            ends = [_within(bar.low), _within(bar.high)]
            axes.plot(ends, [y, y], color=color, linewidth=2, solid_capstyle="butt")
        axes.plot(
            [_within(bar.estimate)],
            [y],
            marker="o" if bar.adapter else "s",
            markersize=8 if bar.adapter else 7,
            linestyle="none",
            color=color,
            markerfacecolor=color if bar.adapter else "none",
        )
        if bar.estimate != _within(bar.estimate):
            axes.annotate(
                f"{fixed(bar.estimate, 0)} % (beyond)", (_within(bar.estimate), y), xytext=(0, 7),
                textcoords="offset points", ha="center",
            )  # fmt: skip
    for share in (0, 100):
        axes.axvline(share, color=COLORS["rule"], linewidth=1, zorder=0)
    axes.set_yticks(range(len(bars)), ["\n".join(_lines(bar.name)) for bar in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("gap closed (%): 0 = source only, 100 = oracle")


def budget_figure(downstream: Downstream) -> Drawing | None:
    """Mean Dice by the number of labelled target patients; None below two points."""
    lines = [
        (title, key, points)
        for title, key in _BUDGET_LINES.items()
        if (points := _budget_points(downstream.budget, title))
    ]
    if sum(len(points) for _, _, points in lines) < 2:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for title, key, points in lines:
            at = [point.labelled_patients for point in points]
            means = [point.dice.estimate for point in points]
            axes.plot(at, means, marker=MARKERS[key], markersize=7, color=COLORS[key], label=title)
            for point in points:
                if point.dice.low is not None:
                    ends = [point.dice.low, point.dice.high]
                    axes.plot([point.labelled_patients] * 2, ends, color=COLORS[key], linewidth=1.5)
        axes.set_xticks(sorted({point.labelled_patients for _, _, points in lines for point in points}))
        axes.set_xlabel("labelled target patients")
        axes.set_ylabel("mean Dice (no unit)")
        figure.legend(loc="outside upper left", ncols=3, borderaxespad=0, handletextpad=0.4)

    said = "; ".join(
        f"{title}: "
        + ", ".join(f"{point.labelled_patients} labelled {fixed(point.dice.estimate, 3)}" for point in points)
        for title, _, points in lines
    )
    films = downstream.films
    caption = (
        f"Mean Dice over structures (no unit) with its 95 % interval, on {counted(films.n_images, 'film')}, "
        f"{patients_words(films.n_patients)}, {counted(len(downstream.settings.seeds), 'seed')}."
    )
    words = f"Mean Dice on labelled films by the number of labelled target patients. {said}."
    return Drawing(draw("budget", 2.9, paint), words, caption)


def trade_off_figure(results: Results) -> Drawing | None:
    """What was kept against usefulness, and against how real it looks; None where neither is known."""
    panels = [panel for panel in (_usefulness(results), _look(results)) if len(panel[1]) > 1]
    kept = {name: getattr(results.structure, name).gradient_correlation.median for name in METHODS}
    panels = [(title, {name: x for name, x in xs.items() if kept[name] is not None}) for title, xs in panels]
    if not any(xs for _, xs in panels):
        return None

    def paint(figure: Figure) -> None:
        for axes, (title, xs) in zip(_row_of_axes(figure, len(panels)), panels, strict=True):
            for name, x in xs.items():
                axes.plot(
                    [x], [kept[name]], marker=MARKERS[name], markersize=9, color=COLORS[name],
                    linestyle="none", label=row_name(name, results.run.method),
                )  # fmt: skip
            axes.set_xlabel(title)
            axes.margins(0.15)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.axes[0].set_ylabel("gradient correlation, median")
        figure.legend(handles, labels, loc="outside upper left", ncols=3, borderaxespad=0, handletextpad=0.3)

    said = ". ".join(
        f"{title}: "
        + "; ".join(
            f"{row_name(name, results.run.method)} {fixed(x, 2)}, kept {fixed(kept[name], 2)}"
            for name, x in xs.items()
        )
        for title, xs in panels
    )
    words = f"Structure kept (median gradient correlation) against other measures. {said}."
    caption = (
        f"Structure kept (no unit, {counted(len(results.images), 'image')}) against usefulness and look. "
        "Three points show no law; look never ranks."
    )
    return Drawing(draw("trade-off", 2.9, paint), words, caption)


def _row_of_axes(figure: Figure, number: int) -> list[Any]:
    return list(figure.subplots(1, number, sharey=True, squeeze=False)[0])


def _usefulness(results: Results) -> tuple[str, dict[str, float]]:
    rows = {
        row.name: row.mean.dice.estimate for row in (results.downstream.rows if results.downstream else ())
    }
    found = {name: rows.get(row) for name, row in _ROW_OF.items()}
    return "mean Dice on labelled films", {name: dice for name, dice in found.items() if dice is not None}


def _look(results: Results) -> tuple[str, dict[str, float]]:
    where = standing(results)
    found = {name: where.position(getattr(where, name)) for name in METHODS}
    return "position (0: looks real, 1: as untranslated)", {
        name: place for name, place in found.items() if place is not None
    }


def _budget_points(budget: Sequence[BudgetPoint], title: str) -> list[BudgetPoint]:
    def line_of(point: BudgetPoint) -> str:
        return "oracle" if point.row == "oracle" else "with the adapter" if point.adapter else "without"

    known = [point for point in budget if line_of(point) == title and point.dice.estimate is not None]
    return sorted(known, key=lambda point: point.labelled_patients)


def _lines(name: str) -> list[str]:
    return textwrap.wrap(name, _LABEL_WIDTH, break_long_words=False) or [name]


def _within(share: float) -> float:
    """A share kept on the figure: where the gap is narrow, shares of it have no bounds."""
    return min(max(share, _SPAN[0]), _SPAN[1])
