"""The figure of the controls: how instruments answer to a warp that grows."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from medi2i.report.drawing import COLORS, Drawing, draw
from medi2i.report.schema.controls import Controls, DosePoint
from medi2i.report.wording import counted, fixed, words_of

_PANELS_IN_A_ROW = 2


def dose_figure(controls: Controls) -> Drawing | None:
    """Scores by the size of a warp, one panel an instrument; None where there are none."""
    doses: dict[str, list[DosePoint]] = {}
    for point in sorted(controls.dose_response, key=lambda point: point.warp_px):
        if point.median is not None:
            doses.setdefault(point.instrument, []).append(point)
    if not doses:
        return None
    rows = -(-len(doses) // _PANELS_IN_A_ROW)

    def paint(figure: Figure) -> None:
        columns = min(len(doses), _PANELS_IN_A_ROW)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        cells = [axes for line in grid for axes in line]
        for axes, (name, points) in zip(cells, doses.items(), strict=False):
            _paint_panel(axes, name, points, controls.thresholds.get(name))
        for axes in cells[len(doses) :]:
            axes.set_visible(False)
        for axes in cells[len(doses) - columns : len(doses)]:
            axes.set_xlabel("warp (px, root mean square)")
            axes.tick_params(labelbottom=True)

    patients = counted(controls.tested_patients, "patient")
    caption = (
        f"Score of each instrument (in its own unit) by the size of a known warp in px, {patients}. Line: "
        "median; band: 5th to 95th percentile; dashed: threshold, above which an image is flagged."
    )
    return Drawing(draw("dose", 0.4 + 2.1 * rows, paint), _words(doses, controls), caption)


def _paint_panel(axes: Any, name: str, points: list[DosePoint], threshold: float | None) -> None:
    at = [point.warp_px for point in points]
    banded = [point for point in points if point.p5 is not None and point.p95 is not None]
    axes.fill_between(
        [point.warp_px for point in banded],
        [point.p5 for point in banded],
        [point.p95 for point in banded],
        color=COLORS["band"],
        linewidth=0,
    )
    axes.plot(at, [point.median for point in points], marker="o", markersize=5, color=COLORS["translated"])
    if threshold is not None:
        axes.axhline(threshold, color=COLORS["text"], linewidth=1, linestyle=(0, (4, 3)))
    axes.set_title(words_of(name), loc="left", fontsize=10)
    axes.set_xticks(at)


def _words(doses: dict[str, list[DosePoint]], controls: Controls) -> str:
    said = []
    for name, points in doses.items():
        medians = ", ".join(f"{fixed(point.median, 2)} at {point.warp_px:g} px" for point in points)
        threshold = controls.thresholds.get(name)
        limit = "no threshold" if threshold is None else f"threshold {fixed(threshold, 2)}"
        said.append(f"{words_of(name)}: {medians} ({limit})")
    return f"Median score of each instrument by the size of a known warp. {'; '.join(said)}."
