"""Whether each image of a run and each of its structures survived, by instruments that were tried first."""

from medi2i.preservation.certificate import CertificateRow, certify, write_certificate
from medi2i.preservation.controls import RunControls, compose_controls, judge_instruments, restore_controls
from medi2i.preservation.hidden import measure_hidden
from medi2i.preservation.images import measuring_pair
from medi2i.preservation.measurement import CERTIFICATE, examine_image, measure_preservation
from medi2i.preservation.planting import measure_planted
from medi2i.preservation.realism import measure_realism
from medi2i.preservation.settings import PreservationConfig
from medi2i.preservation.structures import StructureScores, kind_of, score_structures
from medi2i.preservation.summary import MeasuredImage
from medi2i.preservation.trial import Block, ScoredImage, score_block, score_image

__all__ = [
    "CERTIFICATE",
    "Block",
    "CertificateRow",
    "MeasuredImage",
    "PreservationConfig",
    "RunControls",
    "ScoredImage",
    "StructureScores",
    "certify",
    "compose_controls",
    "examine_image",
    "judge_instruments",
    "kind_of",
    "measure_hidden",
    "measure_planted",
    "measure_preservation",
    "measure_realism",
    "measuring_pair",
    "restore_controls",
    "score_block",
    "score_image",
    "score_structures",
    "write_certificate",
]
