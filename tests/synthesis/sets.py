"""Small sets, and what tests compare of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medi2i.synthesis import SynthesizeConfig, SynthesizeResult, synthesize


def controls_section(**changes: Any) -> dict[str, Any]:
    """`controls` of `results.json` that passed; every honest image is far below its thresholds."""
    limits = {"geometry": 1.0, "content": 50.0, "orientation": 0.5, "labels": 1.0}
    section = {
        "state": "passed",
        "reasons": [],
        "source": "drawn for a test",
        "side_px": 64,
        "calibration_patients": 12,
        "tested_patients": 22,
        "thresholds": limits,
        "judged_thresholds": limits,
        "structure_thresholds": {"heart": 1.0, "lung": 0.5},
        "outline_kinds": ["heart", "lung"],
        "false_flags": {"estimate": 0.0, "low": 0.0, "high": 0.1},
        "results": [],
    }
    return section | changes


def make_set(
    run: Path, source: Path, out: Path, *, processes: int = 1, shard=None, **settings: Any
) -> SynthesizeResult:
    """A set on the CPU; without a gate unless it is asked for."""
    config = SynthesizeConfig.model_validate({"gate": False} | settings)
    return synthesize([run], source, out=out, config=config, workers=processes, shard=shard, device="cpu")


def contents(folder: Path) -> Mapping[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def manifest(folder: Path) -> list[dict[str, Any]]:
    """Lines of a set's manifest."""
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
