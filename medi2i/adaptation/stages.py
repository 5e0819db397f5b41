"""The stages of the main job; each can be repeated after an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medi2i.adaptation.attributes import resolve_config, told_attributes
from medi2i.adaptation.pairs import order_pairs
from medi2i.adaptation.preparation import (
    DOMAINS,
    Preparation,
    inspect_domains,
    read_preparation,
    to_domains,
    write_preparation,
)
from medi2i.adaptation.results import compose_results, describe_run, keep_added
from medi2i.adaptation.segmenter import (
    hand_in,
    needs_segmenter,
    require_losses,
    structure_losses_of,
    train_run_segmenter,
)
from medi2i.adaptation.settings import AdaptConfig
from medi2i.adaptation.truth import find_truth
from medi2i.adapters import DomainAdapter
from medi2i.data.classes import row_codes
from medi2i.data.decoding import decoded_images
from medi2i.data.labelled import LabelledCrops
from medi2i.data.paired import PairedCrops
from medi2i.data.unpaired import TrainingCrops, UnpairedCrops
from medi2i.errors import CheckpointError, ConfigError
from medi2i.evaluation import (
    Domains,
    Reference,
    Translation,
    baseline_translations,
    check_masks,
    fix_reference,
    measure_translation,
    measure_truth,
    tensors,
    translated_images,
    validator,
    write_results,
    write_worst,
)
from medi2i.preview import preview_writer
from medi2i.training.checkpoint import (
    Checkpoint,
    has_checkpoint,
    load_checkpoint,
    load_networks,
    mark_best,
    save_checkpoint,
)
from medi2i.training.engine import DeviceName, make_accelerator
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks, train
from medi2i.training.progress import Progress
from medi2i.translation import load_translator, write_translations


def check_settings(config: AdaptConfig, out: Path) -> DomainAdapter:
    """Refuse what would only fail later: a folder not given, no training settings, weights that don't fit.

    Returns:
        the adapter, with the weights that training starts from.

    Raises:
        UsageError: a domain is not given.
        ConfigError: the method trains and there is no section for it, or crops of this size don't fit it; or
            its weights come from elsewhere.
        CheckpointError: the weights to start from are missing or of another method or size.
    """
    for domain in DOMAINS:
        config.folder(domain)
    adapter = config.adapter.build(seed=config.seed)
    if adapter.given_weights:
        raise ConfigError(
            "adapter.name",
            found=config.adapter.name,
            expected="a method that learns from these folders",
            remedy="make such a run with `medi2i import-weights`",
        )
    if adapter.players:
        config.require_training()
        _check_crop_size(config, adapter)
        told = told_attributes(config)
        if told is None or not told.unresolved:  # else the weights' shapes are not known yet
            _start_weights(config, adapter, out / "checkpoints")
    return adapter


def _check_crop_size(config: AdaptConfig, adapter: DomainAdapter) -> None:
    """Refuse crops larger than the images are seen, and parts of images where a method needs whole ones."""
    crop, working = config.data.crop_size, config.data.working_size
    if adapter.whole_images and crop != working:
        raise ConfigError(
            "data.crop_size",
            found=f"{crop}, with data.working_size {'null' if working is None else working}",
            expected=f"the same number: method '{config.adapter.name}' trains on whole images",
            remedy=f"set data.crop_size={working}" if working else f"set data.working_size={crop}",
        )
    if working is not None and crop > working:
        raise ConfigError(
            "data.crop_size",
            found=f"{crop}, larger than data.working_size, {working}",
            expected="crops that are no larger than the images are seen",
            remedy=f"set data.crop_size={working} or less",
        )


class Stages:
    """One run of the main job: the stages in their order, and what they hand on."""

    def __init__(self, config: AdaptConfig, out: Path, device: DeviceName, stop: StopRequest) -> None:
        self.config, self.out, self.device, self.stop = config, out, device, stop
        self.engine = make_accelerator(device, config.training.precision if config.training else "fp32")
        self.found: Preparation
        self.domains: Domains
        self.reference: Reference

    def prepare(self, *, paired: bool = False) -> None:
        """Read the folders, or, when resuming, the manifest that was made of them."""
        earlier = read_preparation(self.out)
        found = earlier or inspect_domains(self.config, self._ticker, paired=paired)
        self.config = resolve_config(self.config, found.rows)
        if earlier is None:
            write_preparation(found, self.config, self.out)
        self.found, self.domains = found, to_domains(found, self.config)
        require_losses(self.config, found.rows["source"])

    def fix_reference(self) -> None:
        """Floor and baselines, before anything is trained."""
        progress = Progress("measuring baselines", len(self.domains.target) + 2 * len(self.domains.source))
        self.reference = fix_reference(
            self.domains, self.config.evaluation, seed=self.config.seed, tick=self._ticker(progress)
        )
        progress.close()
        if not math.isfinite(self.reference.floors["all"]["mean"]):
            self.found.warnings.append(
                "target: fewer than four patients held out, so real images can't be measured against "
                "each other"
            )

    def learn(self) -> None:
        """Train, or fit what only needs statistics; leaves checkpoints with BEST."""
        config, adapter = self.config, self.config.adapter.build(seed=self.config.seed)
        folder = self.out / "checkpoints"
        if not adapter.players:
            self.keep(adapter)
            return
        _start_weights(config, adapter, folder)
        if needs_segmenter(structure_losses_of(config)):
            network, structures = train_run_segmenter(config, self.domains, self.out, self.engine, self.stop)
            hand_in(adapter, network, structures, config)
        crops, labelled = self._crops(adapter)
        train(
            adapter,
            crops,
            config.require_training(),
            folder=self.out,
            seed=config.seed,
            accelerator=self.engine,
            stop=self.stop,
            hooks=Hooks(
                validate=validator(self.domains, self.reference, config.evaluation),
                preview=preview_writer(self.domains, self.out / "previews"),
                facts=self._facts(),
            ),
            workers=config.data.workers,
            labelled=labelled,
        )

    def keep(self, adapter: DomainAdapter) -> None:
        """Fit what only needs statistics, and keep a method as it is; leaves a checkpoint with BEST."""
        folder = self.out / "checkpoints"
        for name in self.found.rows:
            adapter.fit(name, tensors(self.domains.images(name, "train")))
        folder.mkdir(exist_ok=True)
        state = self._facts() | {"best_step": 0}
        save_checkpoint(folder, Checkpoint(0, dict(adapter.state_dict()), {}, {}, {}, state))
        mark_best(folder, 0)

    def _facts(self) -> dict[str, Any]:
        """What every checkpoint says of its run."""
        config = self.config
        return {
            "adapter": config.adapter.model_dump(mode="json"),
            "data": config.data.model_dump(mode="json"),
            "intensities": {name: m.to_dict() for name, m in self.domains.intensities.items()},
        }

    def translate(self) -> None:
        """Every source image with the best checkpoint, masks carried."""
        write_translations(
            load_translator(self.out, device=self.device),
            self.domains.source,
            self.domains.source_root,
            self.out / "translated",
            direction="source-to-target",
            stop=self.stop,
        )

    def measure(self, *, seconds: Callable[[], float]) -> dict[str, Any]:
        """All numbers, in `results.json`; `seconds` tells how long the job took until then."""
        domains, evaluation, folder = self.domains, self.config.evaluation, self.out / "translated"
        translation = translated_images(domains, folder)
        progress = Progress("measuring", len(domains.source))
        measured = measure_translation(
            domains,
            self.reference,
            translation,
            evaluation,
            tick=self._ticker(progress),
        )
        progress.close()
        results = compose_results(self.found, domains, self.reference, measured)
        results["truth"] = self._measure_truth(translation)
        results["masks"] = check_masks(domains.source, domains.source_root, folder)
        results["worst"] = write_worst(
            domains, translation, measured["images"], self.out / "worst", evaluation.worst
        )
        run = describe_run(self.config, domains, self.out, str(self.engine.device))
        results["run"] = run | {"seconds": round(seconds(), 1)}
        path = self.out / "results.json"
        return write_results(path, keep_added(path, results))

    def _ticker(self, progress: Progress) -> Callable[[], None]:
        def tick() -> None:
            progress.advance()
            if self.stop.requested:
                begun = (self.out / "config.yaml").is_file()
                remedy = "continue with --resume" if begun else "run the same command again"
                self.stop.raise_if_requested(str(self.out), remedy)

        return tick

    def _crops(self, adapter: DomainAdapter) -> tuple[TrainingCrops, LabelledCrops | None]:
        """Training crops of both domains, and labelled batches for a method that wants them."""
        losses = structure_losses_of(self.config)
        wants_masks = adapter.needs_masks or any(loss.wants_masks for loss in losses)
        domains, data, seed = self.domains, self.config.data, self.config.seed
        rows = {name: domains.rows(name, "train") for name in DOMAINS}
        if adapter.needs_pairs:
            rows["target"] = order_pairs(rows["source"], rows["target"])
        decoded = {
            name: decoded_images(
                rows[name],
                root,
                domains.intensities[name],
                data,
                with_masks=wants_masks and name == "source",
            )
            for name, root in zip(DOMAINS, (domains.source_root, domains.target_root), strict=True)
        }
        if adapter.needs_pairs:
            return PairedCrops(decoded["source"], decoded["target"], data, seed=seed), None
        told = adapter.attributes if adapter.needs_attributes else None
        codes = {name: row_codes(rows[name], told) for name in DOMAINS} if told is not None else None
        crops = UnpairedCrops(decoded["source"], decoded["target"], data, seed=seed, codes=codes)
        if told is None or not adapter.labelled_groups:
            return crops, None
        groups, images = adapter.labelled_groups, adapter.group_images
        labelled = LabelledCrops(
            decoded, rows, told, data, groups=groups, images=images, seed=seed, alternate=wants_masks
        )
        return crops, labelled

    def _measure_truth(self, translation: Translation) -> dict[str, Any] | None:
        if self.config.truth is None:
            return None
        truth = find_truth(self.config.truth, self.domains.source)
        translations = baseline_translations(self.domains) | {"translated": translation}
        return measure_truth(self.domains, truth, translations, tick=lambda: None)


def _start_weights(config: AdaptConfig, adapter: DomainAdapter, folder: Path) -> None:
    if config.init_from is None or has_checkpoint(folder):
        return
    origin = Path(config.init_from) / "checkpoints"
    checkpoint = load_checkpoint(origin, "BEST")
    if checkpoint.state["adapter"]["name"] != config.adapter.name:
        raise CheckpointError(
            origin,
            found=f"a checkpoint of method '{checkpoint.state['adapter']['name']}'",
            expected=f"method '{config.adapter.name}'",
            remedy="choose a run of the same method for --init-from",
        )
    load_networks(adapter, checkpoint.networks | checkpoint.average, origin)
