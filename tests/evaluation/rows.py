"""Manifest rows, settings and a silent progress for the tests of the evaluation."""

from medi2i.data.manifest import ManifestRow
from medi2i.evaluation import EvaluationConfig
from medi2i.image import IntensityMap

CONFIG = EvaluationConfig(feature_size=64, floor_repeats=10, worst=2)


def make_row(number: int, patient: str | None = None, **values: object) -> ManifestRow:
    defaults = {"split": "test", "rows": 8, "columns": 8}
    names = (f"source-{number:04d}", "source", f"{number}.png", f"{number}.png", f"hash-{number}")
    return ManifestRow(
        *names,
        **{"intensity": IntensityMap(0, 1), "valid_fraction": 1.0, "patient": patient} | defaults | values,
    )


def nothing() -> None:
    return None
