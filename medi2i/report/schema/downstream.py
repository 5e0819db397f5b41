"""What a segmenter trained on the images is worth on real, labelled films."""

from __future__ import annotations

from typing import Literal

from medi2i.report.schema.part import Interval, Part

Protocol = Literal["train-on-translated", "translate-at-test", "given"]


class Films(Part):
    """The labelled target films that every row is tested on."""

    n_images: int
    n_patients: int | None
    structures: tuple[str, ...]
    skipped: int


class Settings(Part):
    """How rows were trained and tested: `tolerance` of NSD in `unit`, `folds_hash` of films and folds."""

    seeds: tuple[int, ...]
    folds: int
    few_shot: tuple[int, ...]
    protocols: tuple[str, ...]
    segmenter: str
    transductive: bool
    tolerance: float
    unit: Literal["mm", "px"]
    framing: str
    folds_hash: str | None = None


class Ceiling(Part):
    """Dice of one label convention against the other on the same views."""

    structure: str
    dice: Interval


class Labels(Part):
    """What the two label sets call a structure, and what their difference costs."""

    source_convention: str | None
    target_convention: str | None
    map: dict[str, tuple[str, ...]]
    ceiling: tuple[Ceiling, ...]
    ceiling_note: str
    dont_care: str
    left_out: tuple[str, ...] = ()


class Overlap(Part):
    """Means of one row; `dice_cared` leaves the don't-care region out."""

    dice: Interval
    dice_cared: Interval
    nsd: Interval
    hd95: Interval
    assd: Interval


class StructureScores(Overlap):
    """Scores of one structure over `n` films and seeds: `missed` where it was there, `invented` where not."""

    missed: int
    invented: int
    n: int
    cl_dice: Interval | None = None
    betti_error: Interval | None = None


class FcnScore(Part):
    """Pixel accuracy, mean class accuracy and mean class intersection over union."""

    pixel_accuracy: float | None
    class_accuracy: float | None
    class_iou: float | None


class Against(Part):
    """Difference in mean Dice from another row; p by Wilcoxon, `p_holm` adjusted for being several."""

    difference: Interval
    p_value: float | None
    p_holm: float | None
    effect: float | None
    n_patients: int


class RowGap(Part):
    """Gap closed by one row; `refused` says why there is none."""

    estimate: float | None
    low: float | None
    high: float | None
    refused: str | None


class DownstreamRow(Part):
    """One way to get predictions on the films."""

    name: str
    protocol: Protocol
    adapter: bool
    base: str | None
    techniques: tuple[str, ...]
    labelled_patients: int | Literal["all"]
    trained_on: str
    structures: dict[str, StructureScores]
    mean: Overlap
    fcn_score: FcnScore | None = None
    per_seed_dice: tuple[float | None, ...]
    versus_source: Against | None
    versus_base: Against | None = None  # what translating adds to `base`
    gap_closed: RowGap | None


class BudgetPoint(Part):
    """Mean Dice of a row that was trained with so many labelled target patients."""

    labelled_patients: int
    row: str
    adapter: bool
    dice: Interval


class Downstream(Part):
    """The whole table; `mirrored`: Dice with a film's own labels, less that with another patient's."""

    films: Films
    settings: Settings
    labels: Labels
    rows: tuple[DownstreamRow, ...]
    budget: tuple[BudgetPoint, ...] = ()
    mirrored: Interval | None = None
    notes: tuple[str, ...] = ()
