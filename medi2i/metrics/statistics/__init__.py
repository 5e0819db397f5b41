"""Uncertainty of what is measured: patients are the unit, and seeds enter the variance."""

from medi2i.metrics.statistics.gap import GapClosed, gap_closed
from medi2i.metrics.statistics.intervals import (
    EXPLORATORY_BELOW,
    MeanInterval,
    crossed_interval,
    crossed_sums_interval,
    mean_interval,
    studentised_interval,
)
from medi2i.metrics.statistics.paired import PairedTest, adjust_holm, signed_rank_test
from medi2i.metrics.statistics.proportions import Area, roc_area, wilson_interval

__all__ = [
    "EXPLORATORY_BELOW",
    "Area",
    "GapClosed",
    "MeanInterval",
    "PairedTest",
    "adjust_holm",
    "crossed_interval",
    "crossed_sums_interval",
    "gap_closed",
    "mean_interval",
    "roc_area",
    "signed_rank_test",
    "studentised_interval",
    "wilson_interval",
]
