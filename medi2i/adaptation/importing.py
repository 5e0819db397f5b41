"""`medi2i import-weights`: published weights as a finished run."""

from __future__ import annotations

import time
from pathlib import Path

from torch import Tensor

from medi2i.adaptation.job import AdaptResult, check_out
from medi2i.adaptation.reference_weights import ReferenceWeights, read_reference_weights
from medi2i.adaptation.settings import AdaptConfig, load_run_config
from medi2i.adaptation.stages import Stages
from medi2i.adapters import DomainAdapter, ImportedConfig
from medi2i.errors import CheckpointError, InterruptedRunError
from medi2i.io.hold import hold_folder
from medi2i.report import write_report
from medi2i.training.checkpoint import load_networks
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import stop_on_signals


def import_weights(
    weights: Path,
    config: AdaptConfig,
    *,
    out: Path,
    back: Path | None = None,
    device: DeviceName = "auto",
) -> AdaptResult:
    """A run folder of weights that somebody else trained: images translated and measured, as `adapt` does it.

    Args:
        weights: of the generator from source to target; see `reference_weights`.
        config: with `source` and `target`; `adapter` and `training` are set here.
        out: the run folder; new, or one that an interrupted import of the same weights and settings left.
        back: of the generator from target to source.
        device: where to compute.

    Raises:
        CheckpointError: the weights can't be read, or are of another network.
        UsageError: a file or folder is missing, `out` is in use, or the domains hold the same files.
        NothingUsableError: a domain has no usable images.
        InterruptedRunError: Ctrl-C or SIGTERM; calling again continues.
    """
    begin = time.monotonic()
    there = read_reference_weights(weights)
    again = None if back is None else read_reference_weights(back)
    adapter_config = _describe(weights, there, again)
    config = config.model_copy(update={"adapter": adapter_config, "training": None})
    adapter = adapter_config.build(seed=0)
    _load(adapter, there, again, weights)
    for domain in ("source", "target"):
        config.folder(domain)
    begun = (out / "config.yaml").is_file() and not (out / "results.json").is_file()
    check_out(out, resume=begun and load_run_config(out) == config)
    try:
        with stop_on_signals() as stop, hold_folder(out):
            stages = Stages(config, out, device, stop)
            stages.prepare()
            stages.fix_reference()
            stages.keep(adapter)
            stages.translate()
            results = stages.measure(seconds=lambda: time.monotonic() - begin)
    except InterruptedRunError as error:
        raise InterruptedRunError(
            out,
            found="interrupted",
            expected="to come to the end",
            remedy="run the same command again to continue",
        ) from error
    write_report(out)
    return AdaptResult(out, results, stages.found.skipped)


def _describe(path: Path, there: ReferenceWeights, back: ReferenceWeights | None) -> ImportedConfig:
    if back is not None and (back.generator, back.channels) != (there.generator, there.channels):
        raise CheckpointError(
            path,
            found="generators of different sizes there and back",
            expected="two of one training",
            remedy="leave out --back, or give the file that belongs to it",
        )
    return ImportedConfig(
        generator=there.generator,
        channels=there.channels,
        both_ways=back is not None,
        weights_sha256=tuple(one.sha256 for one in (there, back) if one is not None),
    )


def _load(adapter: DomainAdapter, there: ReferenceWeights, back: ReferenceWeights | None, path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for name, one in (("source_to_target", there), ("target_to_source", back)):
        if one is not None:
            prefix = f"{name}." if one.channels == 1 else f"{name}.generator."
            tensors |= {f"{prefix}{key}": value for key, value in one.tensors.items()}
    load_networks(adapter, tensors, path)
