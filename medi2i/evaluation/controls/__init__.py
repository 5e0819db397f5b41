"""Controls that test the instruments: known changes of anatomy must be found, changes of style must not."""

from medi2i.evaluation.controls.content import ContentConfig, ContentResidual, measure_content
from medi2i.evaluation.controls.instruments import (
    INSTRUMENTS,
    InstrumentsConfig,
    PairFindings,
    PairScores,
    examine_pair,
    label_misfit,
    mirrored_agreement,
    score_pair,
    shows_lung,
)
from medi2i.evaluation.controls.judgement import (
    SANITY_CONTROLS,
    ControlResult,
    Judgement,
    flags_of,
    judge,
    prediction_limit,
    set_thresholds,
    worst_of_patients,
)
from medi2i.evaluation.controls.pairs import Pair, clear_lung
from medi2i.evaluation.controls.perturbations import (
    WARPS_PX,
    ControlsConfig,
    Perturbation,
    draw_nodule,
    negative_controls,
    positive_controls,
    shuffle_labels,
)
from medi2i.evaluation.controls.phantoms import read_phantom_pairs
from medi2i.evaluation.controls.trial import SHUFFLED, run_controls, split_patients, wiped

__all__ = [
    "INSTRUMENTS",
    "SANITY_CONTROLS",
    "SHUFFLED",
    "WARPS_PX",
    "ContentConfig",
    "ContentResidual",
    "ControlResult",
    "ControlsConfig",
    "InstrumentsConfig",
    "Judgement",
    "Pair",
    "PairFindings",
    "PairScores",
    "Perturbation",
    "clear_lung",
    "draw_nodule",
    "examine_pair",
    "flags_of",
    "judge",
    "label_misfit",
    "measure_content",
    "mirrored_agreement",
    "negative_controls",
    "positive_controls",
    "prediction_limit",
    "read_phantom_pairs",
    "run_controls",
    "score_pair",
    "set_thresholds",
    "shows_lung",
    "shuffle_labels",
    "split_patients",
    "wiped",
    "worst_of_patients",
]
