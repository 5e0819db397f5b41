"""The folder that rendering writes: a view's record when all its files are there, and the tables.

A record is written last, so that a view with a record is whole, whatever happened to the machine in between.
All tables are made of the records alone: any number of processes and machines may fill one folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from medi2i.config import dump_config, load_config
from medi2i.drr.convention import describe_convention
from medi2i.errors import OutputExistsError
from medi2i.io.atomic import write_text_atomically
from medi2i.rendering.settings import DRRConfig

CONFIG = "config.yaml"
RECORDS = "views"
_SKIPPED = "skipped"


def view_name(key: str, view: int) -> str:
    """Name of an image without suffix: the patient's key, which is no identity, and the view's number."""
    return f"{key}_v{view:03d}"


def is_begun(out: Path) -> bool:
    """Whether a folder is marked as a rendering's."""
    return (out / CONFIG).is_file()


def read_config(out: Path) -> DRRConfig:
    """The configuration that a folder was begun with.

    Raises:
        ConfigError: it is damaged.
    """
    return load_config(out / CONFIG, DRRConfig)


def open_folder(out: Path, config: DRRConfig) -> None:
    """Mark a folder as one rendering's, or check that it is this one's.

    More views than before are the same rendering, gone on with.

    Raises:
        OutputExistsError: the folder holds something else, or the rendering of another configuration.
    """
    marked = out / CONFIG
    if is_begun(out):
        earlier = read_config(out)
        if not any((out / RECORDS).glob("*.json")):
            earlier = config.model_copy(update={"views": 0})  # nothing of the earlier one is there
        if earlier.model_copy(update={"views": config.views}) != config:
            raise OutputExistsError(
                out,
                found="DRRs of another configuration",
                expected="a new folder, or the same configuration to go on with",
                remedy=f"choose another --out, or give --config {marked}",
            )
        if earlier.views >= config.views:
            return
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(
            out, found="something else", expected="a new or empty folder", remedy="choose another --out"
        )
    write_text_atomically(marked, dump_config(config))


def missing_views(out: Path, key: str, views: int) -> list[int]:
    """Numbers of a patient's views that have no record yet."""
    return [view for view in range(views) if not _record_path(out, view_name(key, view)).is_file()]


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Say that all files of a view are there."""
    write_text_atomically(_record_path(out, record["name"]), json.dumps(record) + "\n")


def write_skipped(out: Path, ct: Path, reason: str) -> None:
    """Say that a patient could not be used."""
    write_text_atomically(
        _skipped_path(out, ct), json.dumps({"file": ct.as_posix(), "reason": reason}) + "\n"
    )


def clear_skipped(out: Path, ct: Path) -> None:
    """Take back what an earlier call said of a patient."""
    _skipped_path(out, ct).unlink(missing_ok=True)


def read_records(out: Path) -> list[dict[str, Any]]:
    """Records of all finished views, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / RECORDS).glob("*.json"))]


def write_tables(out: Path, config: DRRConfig) -> int:
    """`dataset.json`, `views.json`, and `patients.csv` of the views that are there.

    Returns:
        how many there are.
    """
    while True:
        records = read_records(out)
        if records:
            _write_tables(out, config, records)
        _write_skipped_table(out)
        # another machine may have finished a view meanwhile; the last one to look must have seen all
        if len(list((out / RECORDS).glob("*.json"))) == len(records):
            return len(records)


def _write_tables(out: Path, config: DRRConfig, records: list[dict[str, Any]]) -> None:
    shared = {
        "structures": records[0]["structures"],
        "mask_rule": mask_rule(config),
        "seed": config.seed,
        "intensity": f"code / {2**config.bits - 1} * {config.full_scale:g} is the line integral",
        "attenuation": config.attenuation.model_dump(mode="json"),
        "geometry": config.geometry.model_dump(mode="json"),
    }
    views = [{key: value for key, value in record.items() if key != "structures"} for record in records]
    write_text_atomically(out / "views.json", json.dumps({**shared, "views": views}, indent=1) + "\n")
    dataset = {
        "name": "DRRs by medi2i drr",
        "structures": records[0]["structures"],
        "convention": config.convention.convention,
        "mask_rule": shared["mask_rule"],
        "description": f"Line integrals, bone bright: {shared['intensity']}; spacing at the detector",
    }
    write_text_atomically(out / "dataset.json", json.dumps(dataset, indent=1) + "\n")
    table = io.StringIO()
    rows = [(record["name"], record["patient"]) for record in records]
    csv.writer(table, lineterminator="\n").writerows([("file", "patient"), *rows])
    write_text_atomically(out / "patients.csv", table.getvalue())


def _write_skipped_table(out: Path) -> None:
    """`skipped.jsonl`: a line a patient; no such file if there is none."""
    lines = [path.read_text(encoding="utf-8") for path in sorted((out / _SKIPPED).glob("*.json"))]
    if lines:
        write_text_atomically(out / "skipped.jsonl", "".join(lines))
    else:
        (out / "skipped.jsonl").unlink(missing_ok=True)


def mask_rule(config: DRRConfig) -> str:
    """When a pixel belongs to a structure, in words."""
    rule = f"path length inside the structure above {config.mask_threshold_mm:g} mm; structures overlap"
    convention = describe_convention(config.convention)
    return f"{rule}. {convention[0].upper()}{convention[1:]}."


def _skipped_path(out: Path, ct: Path) -> Path:
    return out / _SKIPPED / f"{hashlib.sha256(ct.as_posix().encode()).hexdigest()[:12]}.json"


def _record_path(out: Path, name: str) -> Path:
    return out / RECORDS / f"{name}.json"
