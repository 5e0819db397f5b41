"""Controls that test the instruments: known changes of anatomy must be found, changes of style must not."""

from medi2i.evaluation.controls.content import ContentConfig, ContentResidual, measure_content
from medi2i.evaluation.controls.instruments import (
    INSTRUMENTS,
    InstrumentsConfig,
    PairScores,
    label_misfit,
    mirrored_agreement,
    score_pair,
)
from medi2i.evaluation.controls.judgement import (
    ControlResult,
    Judgement,
    flags_of,
    judge,
    set_thresholds,
)
from medi2i.evaluation.controls.pairs import Pair, clear_lung
from medi2i.evaluation.controls.perturbations import ControlsConfig, negative_controls, positive_controls
from medi2i.evaluation.controls.phantoms import read_phantom_pairs
from medi2i.evaluation.controls.trial import run_controls, split_patients

__all__ = [
    "INSTRUMENTS",
    "ContentConfig",
    "ContentResidual",
    "ControlResult",
    "ControlsConfig",
    "InstrumentsConfig",
    "Judgement",
    "Pair",
    "PairScores",
    "clear_lung",
    "flags_of",
    "judge",
    "label_misfit",
    "measure_content",
    "mirrored_agreement",
    "negative_controls",
    "positive_controls",
    "read_phantom_pairs",
    "run_controls",
    "score_pair",
    "set_thresholds",
    "split_patients",
]
