"""Phantoms rendered once for all tests of the audit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves helper modules unfound

from made_sets import Domains, copy_domains, render_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only."""
    return render_phantoms(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture
def domains(phantoms: Path, tmp_path: Path) -> Domains:
    """A clean set that a test may change."""
    return copy_domains(phantoms, tmp_path)
