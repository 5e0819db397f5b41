"""Whether translating is worth it: segmenters of many kinds of images, tested on labelled target films."""

from medi2i.downstream.job import (
    Case,
    DownstreamResult,
    check_inputs,
    count_trainings,
    measure_downstream,
    take_share,
)
from medi2i.downstream.settings import DownstreamConfig
from medi2i.downstream.translation import film_translation

__all__ = [
    "Case",
    "DownstreamConfig",
    "DownstreamResult",
    "check_inputs",
    "count_trainings",
    "film_translation",
    "measure_downstream",
    "take_share",
]
