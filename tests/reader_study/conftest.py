"""One small page, its key, and a run to score."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medi2i.reader_study import WrittenStudy

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def study(tmp_path: Path) -> WrittenStudy:
    """The small page in a run of its own."""
    from flat_run import make_study

    return make_study(tmp_path)
