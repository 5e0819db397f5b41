"""Runs made by hand, for the tests of what is made of them."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def results() -> dict[str, Any]:
    """A good run; change it as the test needs."""
    from plain_run import RESULTS

    return copy.deepcopy(RESULTS)


@pytest.fixture
def evaluation(results: dict[str, Any]) -> dict[str, Any]:
    """The good run with all that an evaluation adds."""
    from evaluated import evaluated

    return evaluated(results)


@pytest.fixture
def truth() -> dict[str, Any]:
    """Errors of 0.2 (nothing), 0.1 (matching) and 0.05 (run)."""
    from plain_run import TRUTH

    return copy.deepcopy(TRUTH)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes results, and the pictures they name, into a run folder."""
    from plain_run import write_run

    return lambda results: write_run(tmp_path, results)
