"""A results.json made by hand: distances 4 (nothing), 1.6 (matching), 1 (run), floor 0 ± 0.1."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def summary(median: float | None, spread: float = 0.05) -> dict[str, Any]:
    mean = {"estimate": median, "low": None, "high": None, "n_images": 60, "n_undefined": 0}
    if median is None:
        return {"p5": None, "median": None, "p95": None, "mean": mean | {"n_images": 0, "n_undefined": 60,
                "n_patients": 0, "patients_unknown": False}}  # fmt: skip
    mean |= {"low": median - 0.01, "high": median + 0.01, "n_patients": 20, "patients_unknown": False}
    return {"p5": median - spread, "median": median, "p95": median + spread, "mean": mean}


def structure(correlation: float, ssim: float, edge: float, p95: float) -> dict[str, Any]:
    return {
        "gradient_correlation": summary(correlation, 0.04),
        "ssim": summary(ssim),
        "edge_median": summary(edge),
        "edge_p95": summary(p95),
    }


def errors(error: float, ssim: float) -> dict[str, Any]:
    return {"mean_absolute_error": summary(error, 0.01), "ssim": summary(ssim)}


def domain(n_images: int, **facts: Any) -> dict[str, Any]:
    test = n_images // 4
    return {
        "n_images": n_images,
        "n_skipped": 0,
        "n_patients": n_images // 2,
        "patients_unknown": False,
        "splits": {"train": n_images - test - 10, "validation": 10, "test": test},
        "matrix_smallest": [512, 512],
        "matrix_largest": [512, 512],
        "bits_stored": [12],
        "spacing_origins": {"PixelSpacing": n_images},
        "structures": [],
        "mean_valid_fraction": 1.0,
    } | facts


def groups(value: float) -> dict[str, float]:
    return {"all": value, "intensity": value / 2, "gradient": value / 4, "spectrum": value / 5}


RESULTS: dict[str, Any] = {
    "format": 1,
    "medi2i": "0.1.0",
    "versions": {"python": "3.11.9", "torch": "2.10.0", "monai": "1.6.1", "numpy": "2.1.0"},
    "run": {
        "method": "cyclegan",
        "seed": 7,
        "steps": 1500,
        "best_step": 1250,
        "best_validation": {"distance": 1.1, "gradient_correlation": 0.93},
        "rule": "the smallest distance",
        "device": "cpu",
        "precision": "fp32",
        "working_size": 256,
        "feature_size": 256,
        "seconds": 754.3,
        "finished": "2025-11-02T12:34:56+00:00",
    },
    "data": {
        "source": domain(240, structures=["left lung", "right lung"]),
        "target": domain(400, bits_stored=[10, 12], matrix_largest=[2048, 1536]),
    },
    "warnings": [],
    "distance": {"floor": 0.0, "identity": 4.0, "histogram": 1.6, "translated": 1.0},
    "distance_groups": {
        "floor": groups(0.0),
        "identity": groups(4.0),
        "histogram": groups(1.6),
        "translated": groups(1.0),
    },
    "distance_held_out_source": {
        "identity": groups(4.1),
        "histogram": groups(1.7),
        "translated": groups(1.2),
    },
    "floors": {
        name: {"mean": 0.0, "sd": sd, "n_images": 110, "n_patients": 55, "repeats": 200}
        for name, sd in {"all": 0.1, "intensity": 0.05, "gradient": 0.025, "spectrum": 0.02}.items()
    },
    "n_undefined_features": {"identity": 0, "histogram": 0, "translated": 0},
    "structure": {
        "identity": structure(1.0, 1.0, 0.0, 0.0),
        "histogram": structure(0.95, 0.8, 0.2, 1.1),
        "translated": structure(0.91, 0.75, 0.31, 1.9),
    },
    "edge_unit": "mm",
    "truth": None,
    "masks": {"in_source": 240, "carried": 240, "identical": 240},
    "flags": {"constant": 0, "inverted": 0, "empty": 0, "nonfinite": 0},
    "images": [
        {
            "id": f"source-{index:04d}",
            "split": "test" if index % 4 == 0 else "train",
            "gradient_correlation": 0.85 + 0.002 * index,
            "ssim": 0.75,
            "edge_median": 0.31,
            "edge_p95": 1.9,
            "edge_unit": "mm",
            "flags": [],
        }
        for index in range(60)
    ],
    "worst": [],
}
TRUTH: dict[str, Any] = {
    "n_images": 15,
    "n_patients": 15,
    "identity": errors(0.2, 0.5),
    "histogram": errors(0.1, 0.6),
    "translated": errors(0.05, 0.8),
}


def write_run(folder: Path, results: dict[str, Any]) -> Path:
    """Results, and the pictures they name, in a run folder."""
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    kept = (results.get("preservation") or {}).get("worst", [])
    maps = [item[key] for item in kept for key in ("picture", "heat_map", "content_map") if item[key]]
    for name in [picture["picture"] for picture in results["worst"]] + maps:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.arange(32, dtype=np.uint8).reshape(4, 8)).save(path)
    return folder
