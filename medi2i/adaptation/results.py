"""`results.json`: what was measured, and how the run was made."""

from __future__ import annotations

import datetime
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from medi2i.adaptation.preparation import Preparation
from medi2i.adaptation.settings import AdaptConfig
from medi2i.data.outputs import read_provenance
from medi2i.errors import CheckpointError
from medi2i.evaluation import RESULTS_FORMAT, Domains, Reference, describe_domain, read_results
from medi2i.training.checkpoint import latest_step, load_checkpoint

_FLAGS = ("constant", "inverted", "empty", "nonfinite")
# What other commands add to a finished run's results; true as long as its translations are the same.
_ADDED = (
    "reader_study",
    "verdict",
    "valid",
    "gap_closed",
    "controls",
    "preservation",
    "realism",
    "downstream",
)


def compose_results(
    found: Preparation, domains: Domains, reference: Reference, measured: dict[str, Any]
) -> dict[str, Any]:
    """The measurements, by table of the report; `measured` is `measure_translation` of the run's images."""
    methods = reference.baselines | {"translated": measured}

    def of_each(key: str) -> dict[str, Any]:
        return {name: values[key] for name, values in methods.items()}

    images = measured["images"]
    return {
        "format": RESULTS_FORMAT,
        "medi2i": version_of("medi2i"),
        "versions": {
            "python": platform.python_version(),
            **{name: version_of(name) for name in ("torch", "monai", "numpy")},
        },
        "data": {name: describe_domain(rows, found.skipped_of(name)) for name, rows in found.rows.items()},
        "warnings": found.warnings,
        "distance": {
            "floor": reference.floors["all"]["mean"],
            **{name: values["all"] for name, values in of_each("distance").items()},
        },
        "distance_groups": {
            "floor": {group: floor["mean"] for group, floor in reference.floors.items()},
            **of_each("distance"),
        },
        "distance_held_out_source": of_each("distance_held_out_source"),
        "floors": reference.floors,
        "n_undefined_features": of_each("n_undefined_features"),
        "structure": of_each("structure"),
        "edge_unit": domains.edge_unit,
        "flags": {flag: sum(flag in row["flags"] for row in images) for flag in _FLAGS},
        "images": images,
    }


def describe_run(config: AdaptConfig, domains: Domains, out: Path, device: str) -> dict[str, Any]:
    """How the run was made, without the time it took."""
    checkpoint = load_checkpoint(out / "checkpoints", "BEST")
    training = config.training
    return {
        "method": config.adapter.name,
        "seed": config.seed,
        "steps": latest_step(out / "checkpoints"),
        "best_step": checkpoint.step,
        "weights_sha256": read_provenance(out / "translated")[0]["weights_sha256"],
        "best_validation": checkpoint.state.get("best"),
        "rule": "among validated checkpoints with a median gradient correlation of at least "
        f"{training.minimum_gradient_correlation if training else 0}, the smallest distance to the "
        "target's validation images; if none has, the largest gradient correlation",
        "device": device,
        "precision": training.precision if training else "fp32",
        "working_size": config.data.working_size or max(max(row.rows, row.columns) for row in domains.source),
        "feature_size": config.evaluation.feature_size,
        "finished": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def keep_added(earlier: Path, results: dict[str, Any]) -> dict[str, Any]:
    """The results with what other commands added to those that are there, if they are of the same weights.

    Args:
        earlier: `results.json` of the run, or where it will be.
        results: measured anew.
    """
    try:
        before = read_results(earlier)
    except CheckpointError:  # none yet, or nothing that could be kept
        return results
    if before.get("run", {}).get("weights_sha256") != results["run"]["weights_sha256"]:
        return results
    return results | {key: before[key] for key in _ADDED if key in before}


def version_of(package: str) -> str:
    """Of an installed package; `unknown` for a checkout that is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
