"""Measure a run: how near the target domain, how much structure was kept; all of it in `results.json`."""

from medi2i.evaluation.domains import (
    Domains,
    NetworkImage,
    Translation,
    describe_domain,
    tensors,
    translated_images,
)
from medi2i.evaluation.measurement import EvaluationConfig, Reference, measure_translation, summarize
from medi2i.evaluation.outputs import (
    RESULTS_FORMAT,
    check_masks,
    read_results,
    write_picture,
    write_results,
    write_worst,
)
from medi2i.evaluation.reference import baseline_translations, fix_reference
from medi2i.evaluation.truth import measure_truth, require_matrix
from medi2i.evaluation.validation import validator

__all__ = [
    "RESULTS_FORMAT",
    "Domains",
    "EvaluationConfig",
    "NetworkImage",
    "Reference",
    "Translation",
    "baseline_translations",
    "check_masks",
    "describe_domain",
    "fix_reference",
    "measure_translation",
    "measure_truth",
    "read_results",
    "require_matrix",
    "summarize",
    "tensors",
    "translated_images",
    "validator",
    "write_picture",
    "write_results",
    "write_worst",
]
