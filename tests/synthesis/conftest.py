"""Runs that tests of synthesis share: one that was evaluated, and one of a method that draws styles."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medi2i.evaluation import read_results, write_results
from tests.synthesis.sets import controls_section


@pytest.fixture(scope="session")
def evaluated_run(identity_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only: the identity with controls as an evaluation leaves them; its thresholds are generous."""
    run = Path(shutil.copytree(identity_run, tmp_path_factory.mktemp("evaluated") / "identity"))
    results = read_results(run / "results.json")
    write_results(run / "results.json", results | {"controls": controls_section()})
    return run


@pytest.fixture(scope="session")
def styled_run(domains_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only: random films of each image, a method with styles and without training."""
    from medi2i.adaptation import adapt, choose_config

    out = tmp_path_factory.mktemp("styled") / "films"
    folders = {"source": str(domains_folder / "src"), "target": str(domains_folder / "tgt")}
    config = choose_config("randomisation", None, ["evaluation.feature_size=64"], "cpu")
    adapt(config.model_copy(update=folders), out=out, device="cpu")
    return out
