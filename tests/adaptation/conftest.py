"""Data that a test of the main job may change."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def own_domains(domains_folder, tmp_path) -> Path:
    """A copy of the domains that a test may change."""
    return Path(shutil.copytree(domains_folder, tmp_path / "domains"))
