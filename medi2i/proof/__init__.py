"""The proof of a run: did anatomy survive, and is a network better for it? One verdict, one report."""

from medi2i.proof.job import EvaluateResult, evaluate, evaluate_share
from medi2i.proof.settings import EvaluateConfig, choose_config
from medi2i.proof.shares import default_jobs

__all__ = ["EvaluateConfig", "EvaluateResult", "choose_config", "default_jobs", "evaluate", "evaluate_share"]
