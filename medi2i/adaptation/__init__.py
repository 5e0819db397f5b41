"""The main job: two folders in; a trained translation, labelled synthetic X-rays, and a report out."""

from medi2i.adaptation.importing import import_weights
from medi2i.adaptation.job import AdaptResult, adapt
from medi2i.adaptation.plan import describe_job
from medi2i.adaptation.settings import AdaptConfig, choose_config, default_run_folder, load_run_config

__all__ = [
    "AdaptConfig",
    "AdaptResult",
    "adapt",
    "choose_config",
    "default_run_folder",
    "describe_job",
    "import_weights",
    "load_run_config",
]
