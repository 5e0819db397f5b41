"""What the main job would do, without doing it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from medi2i.adaptation.attributes import resolve_config
from medi2i.adaptation.job import check_out
from medi2i.adaptation.preparation import Preparation, inspect_domains, read_preparation
from medi2i.adaptation.segmenter import (
    needs_segmenter,
    require_losses,
    structure_losses_of,
    time_run_segmenter,
)
from medi2i.adaptation.settings import AdaptConfig
from medi2i.adaptation.stages import check_settings
from medi2i.adapters import DomainAdapter
from medi2i.data.outputs import read_provenance
from medi2i.evaluation import describe_domain
from medi2i.training.checkpoint import latest_step
from medi2i.training.engine import DeviceName, make_accelerator
from medi2i.training.loop import time_steps

# weights, their average and two moments, each of four bytes, in three checkpoints
_BYTES_PER_PARAMETER = 4 * 4 * 3


def describe_job(
    config: AdaptConfig, *, out: Path, device: DeviceName = "auto", resume: bool = False
) -> dict[str, Any]:
    """What `adapt` would read, train and write, with an estimate of time and memory; nothing is written.

    The time comes from training steps done for the purpose, on random images of the real crop size. With
    `resume` it is for what is left, which `left` says.

    Raises:
        UsageError, NothingUsableError: as `adapt`.
    """
    engine = make_accelerator(device, config.training.precision if config.training else "fp32")
    check_out(out, resume=resume)
    adapter = check_settings(config, out)
    found = read_preparation(out) or inspect_domains(
        config, lambda progress: progress.advance, paired=adapter.needs_pairs
    )
    resolved = resolve_config(config, found.rows)
    if resolved != config:
        config, adapter = resolved, resolved.adapter.build(seed=config.seed)
    require_losses(config, found.rows["source"])
    parameters = sum(p.numel() for p in adapter.parameters())
    total = _total_steps(config, found) if adapter.players else 0
    left = max(0, total - latest_step(out / "checkpoints"))
    seconds = _seconds(adapter, config, found, left, out, engine) if left else 0.0
    pixels = sum(row.rows * row.columns * 2 for row in found.rows["source"])
    plan = {
        "reads": {name: describe_domain(rows, found.skipped_of(name)) for name, rows in found.rows.items()},
        "warnings": found.warnings,
        "trains": {
            "method": config.adapter.name,
            "parameters": parameters,
            "steps": total,
            "crop_size": config.data.crop_size,
            "working_size": config.data.working_size,
            "device": str(engine.device),
            "estimated_minutes": round(seconds / 60, 1),
            "peak_memory_mib": _peak_memory_mib(engine.device),
        },
        "writes": {
            "run": str(out),
            "images": len(found.rows["source"]),
            "estimated_mib": round((pixels + parameters * _BYTES_PER_PARAMETER) / 2**20, 1),
        },
    }
    return plan | ({"left": _left(found, out, left)} if resume else {})


def _seconds(
    adapter: DomainAdapter, config: AdaptConfig, found: Preparation, left: int, out: Path, engine: Accelerator
) -> float:
    """How long the steps that are left will take, and the segmenter before them where a loss asks one."""
    structures = found.rows["source"][0].structures
    before = 0.0
    if needs_segmenter(structure_losses_of(config)):
        before = time_run_segmenter(adapter, config, structures, out, engine)
    training, size = config.require_training(), config.data.crop_size
    return before + left * time_steps(adapter, training, size, engine, structures=len(structures))


def _total_steps(config: AdaptConfig, found: Preparation) -> int:
    longer = max(sum(row.split == "train" for row in rows) for rows in found.rows.values())
    return config.require_training().total_steps(longer)


def _left(found: Preparation, out: Path, steps: int) -> dict[str, int]:
    """Steps to train, and images to translate: all of them until the training is done."""
    folder = out / "translated"
    finished = 0 if steps else sum((folder / r["output"]).is_file() for r in read_provenance(folder))
    return {"training_steps": steps, "images_to_translate": len(found.rows["source"]) - finished}


def _peak_memory_mib(device: torch.device) -> int | None:
    """Of this process until now, on its GPU if it has one; None where the system doesn't say."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    if sys.platform == "win32":
        return None
    import resource  # there is none on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
