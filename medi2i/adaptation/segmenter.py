"""The segmenter that a method's structure losses ask: trained on the source's masks before the method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from medi2i.adaptation.settings import AdaptConfig
from medi2i.adapters import DomainAdapter
from medi2i.config import validate_config
from medi2i.data.manifest import ManifestRow
from medi2i.evaluation import Domains
from medi2i.losses.base import StructureLossSettings
from medi2i.losses.structure import StructureLosses, require_possible
from medi2i.segmentation.co_training import co_train
from medi2i.segmentation.masked import MaskedImages
from medi2i.segmentation.network import SegmenterTraining, build_network
from medi2i.segmentation.prediction import load_chosen_network
from medi2i.segmentation.settings import SegmenterConfig, default_segmenter
from medi2i.segmentation.training import is_finished, train_on
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import time_steps

FOLDER = "segmenter"


def structure_losses_of(config: AdaptConfig) -> tuple[StructureLossSettings, ...]:
    """Settings of the method's structure losses; none for a method that takes none."""
    return tuple(getattr(config.adapter, "structure_losses", ()))


def needs_segmenter(settings: Iterable[StructureLossSettings]) -> bool:
    """Whether a loss that counts asks a segmenter."""
    return any(setting.requires_segmenter and setting.weight for setting in settings)


def require_losses(config: AdaptConfig, source: Sequence[ManifestRow]) -> None:
    """Refuse structure losses that could not say anything, before anything is trained.

    Raises:
        ConfigError: a loss needs masks and there are none, or the method's crops don't fit the segmenter.
    """
    settings = structure_losses_of(config)
    has_masks = any(row.mask is not None for row in source)
    require_possible(settings, has_masks=has_masks, has_segmenter=has_masks)
    if needs_segmenter(settings):
        segmenter_config(config)


def segmenter_config(config: AdaptConfig) -> SegmenterConfig:
    """Settings of the run's segmenter: it sees the crops that the method sees, and in the same precision.

    Raises:
        ConfigError: the method's crops don't fit its network.
    """
    chosen = config.segmenter or default_segmenter()
    training = chosen.training.model_copy(update={"precision": config.require_training().precision})
    shared = {"data": config.data, "seed": config.seed, "training": training}
    return validate_config(chosen.model_dump() | shared, SegmenterConfig, "segmenter")


def train_run_segmenter(
    config: AdaptConfig, domains: Domains, out: Path, engine: Accelerator, stop: StopRequest
) -> tuple[nn.Module, tuple[str, ...]]:
    """Train the segmenter of a run on the source's training images, or take the one that is there.

    Args:
        out: the run folder; the model is `out/segmenter`.

    Returns:
        the network, frozen, and the names of its planes.

    Raises:
        InterruptedRunError: a stop was requested; the run's `resume` continues.
        NothingUsableError: no images with masks in training or validation.
    """
    rows = tuple(row for row in domains.rows("source", "train", "validation") if row.mask is not None)
    images = MaskedImages(rows, domains.source_root, domains.intensities["source"])
    chosen, model = segmenter_config(config), out / FOLDER
    train_on(chosen, [images], out=model, accelerator=engine, stop=stop)
    structures = rows[0].structures
    return load_chosen_network(model, chosen, structures, engine.device), structures


def hand_in(
    adapter: DomainAdapter, network: nn.Module, structures: tuple[str, ...], config: AdaptConfig
) -> None:
    """Give a segmenter to the losses of an adapter that ask one; a co-trained one joins the training."""
    losses: StructureLosses = adapter.structure_losses  # type: ignore[assignment]
    learning = losses.use_segmenter(network, structures)
    if learning is not None:
        co_train(adapter, learning, segmenter_config(config), structures)


def time_run_segmenter(
    adapter: DomainAdapter,
    config: AdaptConfig,
    structures: tuple[str, ...],
    out: Path,
    engine: Accelerator,
) -> float:
    """Seconds that the run's segmenter will take, for `--dry-run`; hands an untrained one to the adapter."""
    chosen = segmenter_config(config)
    hand_in(adapter, build_network(chosen, len(structures), seed=0), structures, config)
    if is_finished(out / FOLDER):
        return 0.0
    trained = SegmenterTraining(chosen, structures, seed=0)
    size, count = chosen.data.crop_size, len(structures)
    return chosen.training.total_steps(1) * time_steps(
        trained, chosen.training, size, engine, structures=count
    )
