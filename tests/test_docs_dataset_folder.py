"""docs/dataset-folder.md, its schema, what is read, and what is written: all four say the same."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from medi2i.data.manifest import ManifestRow
from medi2i.data.outputs import write_tables
from medi2i.data.tables import read_tables
from medi2i.drr.phantom import PhantomConfig, write_phantom_dataset
from medi2i.errors import DatasetFolderError
from medi2i.image import IntensityMap
from medi2i.rendering import render_drrs

_DOCS = Path(__file__).resolve().parent.parent / "docs"
SCHEMA = json.loads((_DOCS / "dataset.schema.json").read_text(encoding="utf-8"))
_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_KEYWORDS = {
    "$schema", "$ref", "$defs", "title", "description", "type", "enum", "anyOf", "properties", "required",
    "additionalProperties", "items", "minItems", "maxItems", "uniqueItems", "minLength", "exclusiveMinimum",
}  # fmt: skip


def examples(language: str) -> list[str]:
    """The fenced blocks of the page in one language."""
    text = (_DOCS / "dataset-folder.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def problems(value: Any, schema: dict[str, Any], place: str = "") -> list[str]:
    """What contradicts a schema that uses no other keywords than `_KEYWORDS`."""
    assert set(schema) <= _KEYWORDS, f"a keyword this check does not know: {set(schema) - _KEYWORDS}"
    found: list[str] = []
    if "$ref" in schema:
        found += problems(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], place)
    if "anyOf" in schema and all(problems(value, option, place) for option in schema["anyOf"]):
        found.append(f"{place}: none of the forms")
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(isinstance(value, _TYPES[k]) and (k == "boolean") == isinstance(value, bool) for k in kinds):
        return [*found, f"{place}: type"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place}: enum")
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        found.append(f"{place}: minLength")
    if isinstance(value, int | float) and not value > schema.get("exclusiveMinimum", float("-inf")):
        found.append(f"{place}: exclusiveMinimum")
    if isinstance(value, list):
        low, high = schema.get("minItems", 0), schema.get("maxItems", len(value))
        found += [] if low <= len(value) <= high else [f"{place}: number of items"]
        found += (
            [f"{place}: uniqueItems"] if schema.get("uniqueItems") and len(set(value)) < len(value) else []
        )
        for index, item in enumerate(value):
            found += problems(item, schema.get("items", {}), f"{place}[{index}]")
    if isinstance(value, dict):
        found += [f"{place}: {key} is missing" for key in schema.get("required", []) if key not in value]
        others = schema.get("additionalProperties", {})
        for key, item in value.items():
            found += problems(item, schema.get("properties", {}).get(key, others), f"{place}.{key}")
    return found


def problems_of_folder(folder: Path) -> list[str]:
    """What the tables of a data set folder contradict."""
    found = problems(json.loads((folder / "dataset.json").read_text("utf-8")), SCHEMA)
    if (folder / "views.json").is_file():
        found += problems(json.loads((folder / "views.json").read_text("utf-8")), SCHEMA["$defs"]["views"])
    if (folder / "attributes.csv").is_file():
        with (folder / "attributes.csv").open(newline="", encoding="utf-8") as stream:
            found += problems(list(csv.DictReader(stream)), {"items": SCHEMA["$defs"]["attributes_row"]})
    with (folder / "patients.csv").open(newline="", encoding="utf-8") as stream:
        found += problems(list(csv.DictReader(stream)), {"items": SCHEMA["$defs"]["patients_row"]})
    return found


def test_the_examples_of_the_data_set_folder_agree_with_the_schema_and_are_read(tmp_path: Path) -> None:
    dataset, views = examples("json")
    rows, attributes = examples("csv")
    tables_of_page = {
        "dataset.json": dataset,
        "views.json": views,
        "patients.csv": rows,
        "attributes.csv": attributes,
    }
    for name, text in tables_of_page.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    assert problems_of_folder(tmp_path) == []
    tables = read_tables(tmp_path)
    assert tables.structures == ("left_lung", "heart")
    assert tables.patients["p0001_v0"] == tables.patients["p0001_v0.png"] == "p0001"
    assert tables.patients["drr_000"] == "ct-1"
    assert tables.splits["p0003_v0.png"] == "test"
    assert tables.attributes["film_02.png"] == {"view": "AP", "posture": "supine"}
    assert tables.attributes["film_03.png"] == {"posture": "supine"}
    assert tables.shown["drr_000"] == {"view": "PA"}
    assert tables.one_spacing == (2.0, 2.0)
    assert tables.spacing["drr_000"] == tables.spacing[""] == (1.6, 1.6)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"structures": "left_lung"}, "type"),
        ({"structures": ["lung", "lung"]}, "uniqueItems"),
        ({"spacing_mm": [2.0, 2.0, 2.0]}, "none of the forms"),
        ({"spacing_mm": 0}, "none of the forms"),
        ({"attributes": {"view": ""}}, "minLength"),
        ({"attributes": ["PA"]}, "type"),
        (["structures"], "type"),
    ],
)
def test_schema_and_reader_refuse_the_same_tables(tmp_path: Path, values: Any, problem: str) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(values), encoding="utf-8")
    assert any(problem in found for found in problems(values, SCHEMA))
    with pytest.raises(DatasetFolderError):
        read_tables(tmp_path)


def test_schema_and_reader_refuse_a_split_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text("file,patient,split\na.png,p1,dev\n", encoding="utf-8")
    row = {"file": "a.png", "patient": "p1", "split": "dev"}
    assert problems(row, SCHEMA["$defs"]["patients_row"]) == [".split: enum"]
    with pytest.raises(DatasetFolderError, match="dev"):
        read_tables(tmp_path)


def test_what_the_phantom_writes_agrees_with_the_schema(tmp_path: Path) -> None:
    config = PhantomConfig.model_validate(
        {
            "source_patients": 1,
            "target_patients": 1,
            "geometry": {"rows": 24, "columns": 24, "detector_spacing_mm": [16.0, 16.0]},
        }
    )
    write_phantom_dataset(config, tmp_path / "out")
    for name in ("drr", "xray", "truth"):
        assert problems_of_folder(tmp_path / "out" / name) == []


def load_patients() -> Any:
    """The tiny CT patients of the rendering's tests."""
    path = Path(__file__).resolve().parent / "rendering" / "cts.py"
    spec = importlib.util.spec_from_file_location("tiny_cts", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_drr_writes_agrees_with_the_schema_and_with_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cts = load_patients()
    still = {"yaw_deg": 0, "pitch_deg": 0, "roll_deg": 0, "translation_mm": [0, 0, 0]}
    config = cts.make_config(views=1, pose=still)
    render_drrs(config, cts.write_patient(tmp_path / "p"), out=tmp_path / "drr", device="cpu")

    assert problems_of_folder(tmp_path / "drr") == []
    page = (_DOCS / "drr.md").read_text(encoding="utf-8")
    views = json.loads((tmp_path / "drr" / "views.json").read_text("utf-8"))
    assert [key for key in (*views, *views["views"][0]) if f"`{key}`" not in page] == []

    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - the page's own example
    # the isocentre lies on the central ray, which meets the middle of 24 rows and 32 columns
    assert (names["row"], names["column"]) == pytest.approx((11.5, 15.5))


def test_what_a_translation_writes_agrees_with_the_schema(tmp_path: Path) -> None:
    first, second = (
        ManifestRow(
            id=f"source-{index}",
            domain="source",
            file=f"{index}.png",
            output=f"{index}.png",
            sha256="0",
            rows=2,
            columns=2,
            intensity=IntensityMap(0, 1),
            valid_fraction=1.0,
            patient="a1b2",
            spacing_mm=(1.0 + index, 1.0),
            spacing_origin="user",
            structures=("heart",),
        )
        for index in (0, 1)
    )
    write_tables([first, second], tmp_path)
    assert problems_of_folder(tmp_path) == []
    assert read_tables(tmp_path).spacing == {"0.png": (1.0, 1.0), "1.png": (2.0, 1.0)}
