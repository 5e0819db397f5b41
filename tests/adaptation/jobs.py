"""The smallest jobs, and how their failures are expected."""

from pathlib import Path

import pytest

from medi2i import adapt, choose_config
from medi2i.adaptation import AdaptConfig
from medi2i.config import load_config


def histogram(folder: Path, **values: object) -> AdaptConfig:
    """The fastest whole job: `folder` holds `src` and `tgt`."""
    settings = choose_config("histogram", None, ["evaluation.feature_size=64"], "cpu").model_dump()
    domains = {"source": str(folder / "src"), "target": str(folder / "tgt")}
    return AdaptConfig.model_validate(settings | domains | values)


def tiny(folder: Path, *overrides: str, **values: object) -> AdaptConfig:
    settings = load_config(folder / "tiny.yaml", AdaptConfig, overrides).model_dump()
    domains = {"source": str(folder / "src"), "target": str(folder / "tgt")}
    return AdaptConfig.model_validate(settings | domains | values)


def check_error(kind, config: AdaptConfig, out: Path, match: str) -> None:
    """The job fails before anything is written."""
    with pytest.raises(kind, match=match):
        adapt(config, out=out, device="cpu")
    assert not out.exists()
