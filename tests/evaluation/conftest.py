"""The tiny domains, and what they are measured against."""

import pytest

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import inspect_folder
from medi2i.data.settings import DataConfig
from medi2i.data.split import SplitConfig, assign_splits
from medi2i.evaluation import Domains, fix_reference
from medi2i.image import IntensityConfig, merge_intensity
from tests.evaluation.rows import CONFIG, nothing


@pytest.fixture(scope="session")
def domains(domains_folder) -> Domains:
    rows, folders = {}, {name: discover(domains_folder / name[:3]) for name in ("src", "tgt")}
    for name, domain in (("src", "source"), ("tgt", "target")):
        found, _ = inspect_folder(folders[name], domain, IntensityConfig(), salt=b"salt")
        rows[domain], _ = assign_splits(found, SplitConfig(), seed=0)
    maps = {
        name: merge_intensity([row.intensity for row in found if row.split == "train"])
        for name, found in rows.items()
    }
    config = DataConfig(working_size=32, crop_size=32)
    return Domains(rows["source"], rows["target"], folders["src"].root, folders["tgt"].root, maps, config)


@pytest.fixture(scope="session")
def reference(domains):
    return fix_reference(domains, CONFIG, seed=0, tick=nothing)
