"""Domains and thresholds that the tests of preservation share."""

import pytest

from medi2i.evaluation import Domains
from medi2i.preservation import RunControls
from tests.preservation.chest_domains import make_controls, write_domains


@pytest.fixture(scope="session")
def chest_domains(tmp_path_factory) -> Domains:
    return write_domains(tmp_path_factory.mktemp("chests"))


@pytest.fixture(scope="session")
def controls() -> RunControls:
    return make_controls()
