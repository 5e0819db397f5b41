"""The main job: two folders in; a trained translation, labelled synthetic X-rays, and a report out."""

from __future__ import annotations

import datetime
import json
import math
import resource
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from medi2i.adapters import AdapterConfig, CycleGANConfig, DomainAdapter
from medi2i.config import Config, dump_config, find_preset, load_config
from medi2i.data.dataset_folder import DatasetFolder, discover, image_stem, metadata_root
from medi2i.data.manifest import (
    ManifestRow,
    Skipped,
    inspect_folder,
    read_manifest,
    require_different_domains,
    write_manifest,
    write_skipped,
)
from medi2i.data.split import assign_splits
from medi2i.data.unpaired import DataConfig, UnpairedCrops, decoded_images
from medi2i.errors import CheckpointError, ConfigError, NothingUsableError, OutputExistsError, UsageError
from medi2i.evaluation import (
    RESULTS_FORMAT,
    Domains,
    EvaluationConfig,
    Reference,
    baseline_translations,
    check_masks,
    describe_domain,
    fix_reference,
    measure_translation,
    measure_truth,
    require_matrix,
    tensors,
    translated_images,
    validator,
    write_results,
    write_worst,
)
from medi2i.image import Domain, merge_intensity
from medi2i.io.atomic import write_text_atomically
from medi2i.preview import preview_writer
from medi2i.report import write_report
from medi2i.training.checkpoint import (
    Checkpoint,
    has_checkpoint,
    load_checkpoint,
    mark_best,
    save_checkpoint,
)
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.loop import (
    DeviceName,
    Hooks,
    TrainingConfig,
    load_networks,
    make_accelerator,
    time_steps,
    train,
)
from medi2i.training.progress import Progress
from medi2i.translation import load_translator, write_translations

_TABLES = {"source": "--src", "target": "--tgt"}


class AdaptConfig(Config):
    """The whole job. Saved as `config.yaml` of the run: `medi2i adapt --config` with it repeats the run.

    Attributes:
        source, target: folders of the two domains; `--src` and `--tgt` stand above them.
        truth: folder of true target images for some source images (same names): measured, never trained on.
        init_from: run whose weights training starts from.
        training: not needed for methods that learn nothing.
    """

    source: str | None = None
    target: str | None = None
    truth: str | None = None
    init_from: str | None = None
    seed: int = Field(default=0, ge=0)
    adapter: AdapterConfig = CycleGANConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()


@dataclass(frozen=True)
class AdaptResult:
    """What a finished job leaves.

    Attributes:
        run: the run folder, with `report.html`, `results.json`, `translated/` and `checkpoints/`.
        results: the content of `results.json`.
        skipped: images that could not be used.
    """

    run: Path
    results: dict[str, Any]
    skipped: list[Skipped]


def choose_config(
    method: str | None, config: str | None, overrides: Sequence[str], device: DeviceName
) -> AdaptConfig:
    """The configuration the command line asks for.

    A method without a configuration takes `<method>_laptop` on a CPU and `<method>` on a GPU; a method that
    learns nothing has one preset for both.

    Raises:
        ConfigError: no such preset, an unknown key, or a configuration of another method.
    """
    if config is None:
        name = method or "cyclegan"
        gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        laptop = device != "mps" and not gpu
        try:
            path = find_preset(f"{name}_laptop" if laptop else name, "adapt")
        except ConfigError:
            path = find_preset(name, "adapt")
    else:
        path = find_preset(config, "adapt")
    chosen = load_config(path, AdaptConfig, overrides)
    if method is not None and chosen.adapter.name != method:
        raise ConfigError(
            path,
            found=f"method '{chosen.adapter.name}'",
            expected=f"method '{method}', as --method says",
            remedy="drop --method or choose another --config",
        )
    return chosen


def load_run_config(run: Path) -> AdaptConfig:
    """The configuration a run was started with.

    Raises:
        ConfigError: the run's config.yaml is missing or damaged.
    """
    return load_config(run / "config.yaml", AdaptConfig)


def default_run_folder(method: str, today: datetime.datetime | None = None) -> Path:
    """`runs/<date>-<method>`, with a number when that exists."""
    today = today or datetime.datetime.now()
    base = Path("runs") / f"{today:%Y-%m-%d}-{method}"
    numbered = [base, *(base.with_name(f"{base.name}-{n}") for n in range(2, 10_000))]
    return next(path for path in numbered if not path.exists())


def adapt(
    config: AdaptConfig, *, out: Path, resume: bool = False, device: DeviceName = "auto"
) -> AdaptResult:
    """Learn a translation between two unpaired folders, translate the source, measure, and report.

    Args:
        config: with `source` and `target` set; for a resumed run, `load_run_config` of it.
        out: the run folder; new, or with `resume` one that an interrupted job left.
        resume: continue at the last checkpoint; stages that are complete are not repeated.

    Raises:
        UsageError: folders missing, `out` in use, or the two domains hold the same files.
        NothingUsableError: a domain has no usable images.
        InterruptedRunError: Ctrl-C or SIGTERM; `resume` continues.
        NonFiniteLossError: training diverged; the last good checkpoint is kept.
    """
    begin = time.monotonic()
    with stop_on_signals() as stop:
        job = _Job(config, out, device, stop)
        if job.engine.is_main_process:
            _check_out(out, resume)
        job.check()
        # the first process reads and writes the manifest; the others find it there
        with job.engine.main_process_first():
            job.prepare()
        job.fix_reference()
        job.learn()
        job.engine.wait_for_everyone()
        if not job.engine.is_main_process:
            return AdaptResult(out, {}, job.skipped)
        job.translate()
        results = job.measure(seconds=time.monotonic() - begin)
    write_report(out)
    return AdaptResult(out, results, job.skipped)


def describe_job(config: AdaptConfig, *, out: Path, device: DeviceName = "auto") -> dict[str, Any]:
    """What `adapt` would read, train and write, with an estimate of time and memory; nothing is written.

    The time comes from training steps done for the purpose, on random images of the real crop size.

    Raises:
        UsageError, NothingUsableError: as `adapt`.
    """
    _check_out(out, resume=False)
    job = _Job(config, out, device, StopRequest())
    job.check()
    rows = job.inspect()
    adapter = config.adapter.build(seed=config.seed)
    crop = config.data.crop_size
    steps, seconds = 0, 0.0
    if adapter.players:
        training = job.training_config()
        longer = max(sum(row.split == "train" for row in rows[name]) for name in rows)
        steps = training.total_steps(longer)
        seconds = steps * time_steps(adapter, training, crop, job.engine)
    pixels = sum(row.rows * row.columns * 2 for row in rows["source"])
    return {
        "reads": {name: describe_domain(rows[name], job.skipped_of(name)) for name in ("source", "target")},
        "warnings": job.warnings,
        "trains": {
            "method": config.adapter.name,
            "parameters": sum(p.numel() for p in adapter.parameters()),
            "steps": steps,
            "crop_size": crop,
            "working_size": config.data.working_size,
            "device": str(job.engine.device),
            "estimated_minutes": round(seconds / 60, 1),
            "peak_memory_mib": _peak_memory_mib(job.engine.device),
        },
        "writes": {
            "run": str(out),
            "images": len(rows["source"]),
            "estimated_mib": round(
                pixels / 2**20 + 4 * sum(p.numel() for p in adapter.parameters()) * 4 * 3 / 2**20, 1
            ),
        },
    }


class _Job:
    """One run of `adapt`: each method is a stage that can be repeated after an interruption."""

    def __init__(self, config: AdaptConfig, out: Path, device: DeviceName, stop: StopRequest) -> None:
        self.config, self.out, self.device, self.stop = config, out, device, stop
        precision = config.training.precision if config.training else "fp32"
        self.engine = make_accelerator(device, precision)
        self.roots = {name: self._root(name) for name in ("source", "target")}
        self.skipped: list[Skipped] = []
        self.warnings: list[str] = []
        self.domains: Domains
        self.reference: Reference

    def check(self) -> None:
        """Refuse what would only fail after the first hour: no training settings, weights that don't fit."""
        adapter = self.config.adapter.build(seed=self.config.seed)
        if adapter.players:
            self.training_config()
            self._start_weights(adapter, self.out / "checkpoints")

    def inspect(self) -> dict[Domain, list[ManifestRow]]:
        """Read every image once and split by patient."""
        salt = secrets.token_bytes(16)  # never written: a hash can't be traced back to an identity
        rows: dict[Domain, list[ManifestRow]] = {}
        for name in ("source", "target"):
            folder = discover(self.roots[name])
            rows[name] = self._inspect_domain(folder, name, salt)
        require_different_domains(rows["source"], rows["target"])
        for name in rows:
            rows[name], warnings = assign_splits(rows[name], self.config.data.split, seed=self.config.seed)
            self.warnings += warnings
        self._check_truth(rows["source"])
        return rows

    def prepare(self) -> None:
        """Read the folders, or, when resuming, the manifest that was made of them."""
        manifest = self.out / "manifest.jsonl"
        if manifest.is_file():
            every = read_manifest(manifest)
            rows: dict[Domain, list[ManifestRow]] = {
                name: [row for row in every if row.domain == name] for name in ("source", "target")
            }
            notes = json.loads((self.out / "preparation.json").read_text(encoding="utf-8"))
            self.warnings = notes["warnings"]
            self.skipped = [Skipped(**skipped) for skipped in notes["skipped"]]
        else:
            rows = self.inspect()
            self.out.mkdir(parents=True, exist_ok=True)
            write_text_atomically(self.out / "config.yaml", dump_config(self.config))
            write_skipped(self.out / "skipped.jsonl", self.skipped)
            notes = {"warnings": self.warnings, "skipped": [vars(skipped) for skipped in self.skipped]}
            write_text_atomically(self.out / "preparation.json", json.dumps(notes))
            write_manifest(manifest, [*rows["source"], *rows["target"]])
        self.domains = Domains(
            source=rows["source"],
            target=rows["target"],
            source_root=metadata_root(self.roots["source"]),
            target_root=metadata_root(self.roots["target"]),
            intensities={
                name: merge_intensity([row.intensity for row in rows[name] if row.split == "train"])
                for name in rows
            },
            data=self.config.data,
        )

    def fix_reference(self) -> None:
        """Floor and baselines, before anything is trained."""
        total = len(self.domains.target) + 2 * len(self.domains.source)
        progress = Progress("measuring baselines", total)
        self.reference = fix_reference(
            self.domains, self.config.evaluation, seed=self.config.seed, tick=self._ticker(progress)
        )
        progress.close()
        if not math.isfinite(self.reference.floor["all"]["mean"]):
            self.warnings.append(
                "target: fewer than four patients held out, so real images can't be measured against "
                "each other"
            )

    def learn(self) -> None:
        """Train, or fit what only needs statistics; leaves checkpoints with BEST."""
        adapter = self.config.adapter.build(seed=self.config.seed)
        facts = {
            "adapter": self.config.adapter.model_dump(mode="json"),
            "data": self.config.data.model_dump(mode="json"),
            "intensities": {name: m.to_dict() for name, m in self.domains.intensities.items()},
        }
        folder = self.out / "checkpoints"
        if not adapter.players:
            for name in ("source", "target"):
                adapter.fit(name, tensors(self.domains.images(name, "train")))
            folder.mkdir(exist_ok=True)
            save_checkpoint(
                folder, Checkpoint(0, dict(adapter.state_dict()), {}, {}, {}, facts | {"best_step": 0})
            )
            mark_best(folder, 0)
            return
        self._start_weights(adapter, folder)
        train(
            adapter,
            self._crops(adapter),
            self.training_config(),
            folder=self.out,
            seed=self.config.seed,
            accelerator=self.engine,
            stop=self.stop,
            hooks=Hooks(
                validate=validator(self.domains, self.reference, self.config.evaluation),
                preview=preview_writer(self.domains, self.out / "previews"),
                facts=facts,
            ),
            workers=self.config.data.workers,
        )

    def translate(self) -> None:
        """Every source image with the best checkpoint, masks carried."""
        translator = load_translator(self.out, device=self.device)
        write_translations(
            translator,
            self.domains.source,
            self.domains.source_root,
            self.out / "translated",
            direction="source-to-target",
            stop=self.stop,
        )

    def measure(self, *, seconds: float) -> dict[str, Any]:
        """All numbers, in `results.json`."""
        translation = translated_images(self.domains, self.out / "translated")
        progress = Progress("measuring", len(self.domains.source))
        seed = self.config.seed
        measured = measure_translation(
            self.domains,
            self.reference,
            translation,
            self.config.evaluation,
            seed=seed,
            tick=self._ticker(progress),
        )
        progress.close()
        rows = measured.pop("images")
        baselines = {name: dict(values) for name, values in self.reference.baselines.items()}
        for values in baselines.values():
            values.pop("images")
        methods = baselines | {"translated": measured}
        truth = self._measure_truth(translation)
        results = {
            "format": RESULTS_FORMAT,
            "medi2i": _version(),
            "run": self._describe_run(seconds),
            "data": {
                "source": describe_domain(self.domains.source, self.skipped_of("source")),
                "target": describe_domain(self.domains.target, self.skipped_of("target")),
            },
            "warnings": self.warnings,
            "distance": {
                "floor": self.reference.floor["all"]["mean"],
                **{name: values["distance"]["all"] for name, values in methods.items()},
            },
            "distance_groups": {
                "floor": {name: floor["mean"] for name, floor in self.reference.floor.items()},
                **{name: values["distance"] for name, values in methods.items()},
            },
            "distance_held_out_source": {
                name: values["distance_held_out_source"] for name, values in methods.items()
            },
            "floor": self.reference.floor["all"],
            "structure": {name: values["structure"] for name, values in methods.items()},
            "edge_unit": rows[0]["edge_unit"],
            "truth": truth,
            "masks": check_masks(self.domains.source, self.domains.source_root, self.out / "translated"),
            "flags": {
                flag: sum(flag in row["flags"] for row in rows)
                for flag in ("constant", "inverted", "empty", "nonfinite")
            },
            "images": rows,
            "worst": write_worst(
                self.domains, translation, rows, self.out / "worst", self.config.evaluation.worst
            ),
        }
        write_results(self.out / "results.json", results)
        loaded: dict[str, Any] = json.loads((self.out / "results.json").read_text(encoding="utf-8"))
        return loaded

    def training_config(self) -> TrainingConfig:
        """Settings of the training.

        Raises:
            ConfigError: the method trains and the configuration has no section for it.
        """
        if self.config.training is None:
            raise ConfigError(
                "training",
                found="no such section",
                expected=f"'training' with 'steps' or 'epochs': {self.config.adapter.name} has to be trained",
                remedy="see configs/adapt/ for examples",
            )
        return self.config.training

    def skipped_of(self, domain: str) -> int:
        """Images of a domain that could not be used."""
        return sum(skipped.domain == domain for skipped in self.skipped)

    def _root(self, name: str) -> Path:
        location = getattr(self.config, name)
        if location is None:
            raise UsageError(
                _TABLES[name], found="nothing", expected=f"the folder of the {name} domain", remedy="give it"
            )
        return Path(location)

    def _inspect_domain(self, folder: DatasetFolder, name: Domain, salt: bytes) -> list[ManifestRow]:
        progress = Progress(f"reading {name}", len(folder.items))
        tick = self._ticker(progress)
        rows, skipped = inspect_folder(
            folder, name, self.config.data.intensity(name), salt=salt, progress=lambda done, total: tick()
        )
        progress.close()
        self.skipped += skipped
        if not rows:
            raise NothingUsableError(
                self.roots[name],
                found=f"{len(skipped)} image(s), none usable; the first: {skipped[0].file}: "
                f"{skipped[0].reason}",
                expected="projection radiographs or DRRs",
                remedy="see docs/dataset-folder.md for what is read",
            )
        return rows

    def _ticker(self, progress: Progress) -> Any:
        def tick() -> None:
            progress.advance()
            self.stop.raise_if_requested(str(self.out), "continue with --resume")

        return tick

    def _crops(self, adapter: DomainAdapter) -> UnpairedCrops:
        wants_masks = adapter.needs_masks or any(
            loss.mask_weight for loss in getattr(self.config.adapter, "structure_losses", ())
        )
        domains = self.domains
        decoded = {
            name: decoded_images(
                [row for row in rows if row.split == "train"],
                root,
                domains.intensities[name],
                self.config.data,
                with_masks=wants_masks and name == "source",
            )
            for name, rows, root in (
                ("source", domains.source, domains.source_root),
                ("target", domains.target, domains.target_root),
            )
        }
        return UnpairedCrops(decoded["source"], decoded["target"], self.config.data, seed=self.config.seed)

    def _start_weights(self, adapter: DomainAdapter, folder: Path) -> None:
        if self.config.init_from is None or has_checkpoint(folder):
            return
        origin = Path(self.config.init_from) / "checkpoints"
        checkpoint = load_checkpoint(origin, "BEST")
        if checkpoint.state["adapter"]["name"] != self.config.adapter.name:
            raise CheckpointError(
                origin,
                found=f"a checkpoint of method '{checkpoint.state['adapter']['name']}'",
                expected=f"method '{self.config.adapter.name}'",
                remedy="choose a run of the same method for --init-from",
            )
        load_networks(adapter, checkpoint.networks | checkpoint.average, origin)

    def _find_truth(self, source: list[ManifestRow]) -> dict[str, Path]:
        """True target image of each source row that has one: the file of the same name, suffix aside."""
        if self.config.truth is None:
            return {}

        def name(path: Path) -> Path:
            return path.with_name(image_stem(path))

        files = {name(item.relative): item.path for item in discover(Path(self.config.truth)).items}
        return {row.id: files[key] for row in source if (key := name(Path(row.output))) in files}

    def _check_truth(self, source: list[ManifestRow]) -> None:
        """Read the true images that will be measured, so that a wrong one is an error before the training."""
        truth = self._find_truth(source)
        if self.config.truth is not None and not truth:
            raise UsageError(
                self.config.truth,
                found="no image with the name of a source image",
                expected="true target images named as their source images",
                remedy="rename them, or leave --truth out",
            )
        measured = [row for row in source if row.split == "test" and row.id in truth]
        for row in measured:
            require_matrix(truth[row.id], (row.rows, row.columns))
        if truth and not measured:
            self.warnings.append(
                "truth: no true image of a source image that is not trained on; not measured"
            )

    def _measure_truth(self, translation: Any) -> dict[str, Any] | None:
        if self.config.truth is None:
            return None
        truth = self._find_truth(self.domains.source)
        translations = baseline_translations(self.domains) | {"translated": translation}
        return measure_truth(self.domains, truth, translations, seed=self.config.seed, tick=lambda: None)

    def _describe_run(self, seconds: float) -> dict[str, Any]:
        checkpoint = load_checkpoint(self.out / "checkpoints", "BEST")
        training = self.config.training
        return {
            "method": self.config.adapter.name,
            "seed": self.config.seed,
            "steps": load_checkpoint(self.out / "checkpoints").step,
            "best_step": checkpoint.step,
            "best_validation": checkpoint.state.get("best"),
            "rule": "among validated checkpoints with a median gradient correlation of at least "
            f"{training.minimum_gradient_correlation if training else 0}, the smallest distance to the "
            "target's validation images; if none has, the largest gradient correlation",
            "device": str(self.engine.device),
            "precision": training.precision if training else "fp32",
            "working_size": self.config.data.working_size
            or max(max(row.rows, row.columns) for row in self.domains.source),
            "feature_size": self.config.evaluation.feature_size,
            "seconds": round(seconds, 1),
            "finished": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        }


def _check_out(out: Path, resume: bool) -> None:
    """Refuse to mix a new job with what is there, before anything is read."""
    is_run = (out / "config.yaml").is_file()
    if out.exists() and not out.is_dir():
        raise OutputExistsError(out, found="a file", expected="a folder", remedy="choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not is_run:
            raise OutputExistsError(
                out,
                found="a folder that is no run of medi2i",
                expected="a new folder",
                remedy="choose another --out",
            )
        if not resume:
            raise OutputExistsError(
                out,
                found="a run",
                expected="a new folder",
                remedy="continue it with --resume, or choose another --out",
            )


def _version() -> str:
    try:
        return metadata.version("medi2i")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def _peak_memory_mib(device: torch.device) -> int:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
