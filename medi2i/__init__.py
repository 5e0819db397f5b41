"""medi2i: turn DRRs into X-rays without pairs, carry the masks along, and prove what survived.

The functions here are the ones the command line calls; each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medi2i.adaptation import (
        AdaptConfig,
        AdaptResult,
        adapt,
        choose_config,
        describe_job,
        import_weights,
        load_run_config,
    )
    from medi2i.drr.phantom import PhantomConfig, write_phantom_dataset
    from medi2i.exporters import ExportResult, export
    from medi2i.io import read_radiograph
    from medi2i.proof import EvaluateConfig, EvaluateResult, evaluate
    from medi2i.rendering import DRRConfig, render_drrs
    from medi2i.report import write_comparison, write_report
    from medi2i.synthesis import SynthesizeConfig, SynthesizeResult, synthesize
    from medi2i.translation import (
        Medi2iTranslated,
        RandMedi2iTranslated,
        Translator,
        load_translator,
        translate,
        translate_array,
    )

_HOMES = {
    "AdaptConfig": "medi2i.adaptation",
    "AdaptResult": "medi2i.adaptation",
    "DRRConfig": "medi2i.rendering",
    "EvaluateConfig": "medi2i.proof",
    "EvaluateResult": "medi2i.proof",
    "ExportResult": "medi2i.exporters",
    "Medi2iTranslated": "medi2i.translation",
    "PhantomConfig": "medi2i.drr.phantom",
    "RandMedi2iTranslated": "medi2i.translation",
    "SynthesizeConfig": "medi2i.synthesis",
    "SynthesizeResult": "medi2i.synthesis",
    "Translator": "medi2i.translation",
    "adapt": "medi2i.adaptation",
    "choose_config": "medi2i.adaptation",
    "describe_job": "medi2i.adaptation",
    "evaluate": "medi2i.proof",
    "export": "medi2i.exporters",
    "import_weights": "medi2i.adaptation",
    "load_run_config": "medi2i.adaptation",
    "load_translator": "medi2i.translation",
    "read_radiograph": "medi2i.io",
    "render_drrs": "medi2i.rendering",
    "synthesize": "medi2i.synthesis",
    "translate": "medi2i.translation",
    "translate_array": "medi2i.translation",
    "write_comparison": "medi2i.report",
    "write_phantom_dataset": "medi2i.drr.phantom",
    "write_report": "medi2i.report",
}

__all__ = [
    "AdaptConfig",
    "AdaptResult",
    "DRRConfig",
    "EvaluateConfig",
    "EvaluateResult",
    "ExportResult",
    "Medi2iTranslated",
    "PhantomConfig",
    "RandMedi2iTranslated",
    "SynthesizeConfig",
    "SynthesizeResult",
    "Translator",
    "adapt",
    "choose_config",
    "describe_job",
    "evaluate",
    "export",
    "import_weights",
    "load_run_config",
    "load_translator",
    "read_radiograph",
    "render_drrs",
    "synthesize",
    "translate",
    "translate_array",
    "write_comparison",
    "write_phantom_dataset",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medi2i' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
