"""CT with labels on the way to a set: rendered beside it first, by the job of `medi2i drr`."""

from __future__ import annotations

from pathlib import Path

from medi2i.config import find_preset, load_config
from medi2i.errors import UsageError
from medi2i.rendering import DRRConfig, render_drrs
from medi2i.training.engine import DeviceName


def working_folder(out: Path) -> Path:
    """Where the DRRs of a set are rendered: beside the set, since they are no part of it."""
    return out.with_name(f"{out.name}-drr")


def render_sources(
    location: Path,
    *,
    preset: str | None,
    labels: Path | None = None,
    out: Path,
    workers: int = 1,
    shard: tuple[int, int] | None = None,
    device: DeviceName = "auto",
) -> Path:
    """The labelled DRRs that a set is drawn from: the folder that is given, or one rendered from CT.

    An interrupted rendering is gone on with.

    Args:
        location: labelled DRRs; with a preset CT, as `medi2i drr` takes it.
        preset: of configs/drr, or a YAML file; None for DRRs.
        labels: structures of a single CT.
        out: the set's folder.
        workers: processes.
        shard: of the set; rendering is for one call.
        device: where to compute.

    Raises:
        UsageError: labels without a preset, or a share.
        Medi2iError: as `render_drrs`.
    """
    if preset is None:
        if labels is not None:
            raise UsageError(
                f"--labels {labels}",
                found="no --render",
                expected="CT to which the labels belong",
                remedy="add --render default, or drop it: a data set folder has masks of its own",
            )
        return location
    if shard is not None:
        raise UsageError(
            "--shard",
            found="--render beside it",
            expected="DRRs that are there before the shares begin",
            remedy="render them with `medi2i drr`, which has shares of its own, and give that folder",
        )
    config = load_config(find_preset(preset, "drr"), DRRConfig)
    folder = working_folder(out)
    render_drrs(config, location, out=folder, labels=labels, workers=workers, device=device)
    return folder
