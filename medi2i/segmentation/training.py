"""Train a segmenter on images with masks, with the loop that trains translations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from medi2i.config import dump_config
from medi2i.data.unpaired import TrainingCrops
from medi2i.errors import CheckpointError, NothingUsableError, OutputExistsError, UsageError
from medi2i.io.atomic import write_text_atomically
from medi2i.io.hold import hold_folder
from medi2i.segmentation.held_out import (
    HeldOutDice,
    average,
    average_by_structure,
    fit_temperature,
    make_validator,
)
from medi2i.segmentation.masked import (
    MaskedCrops,
    MaskedImages,
    decode_masked,
    fingerprint,
    inspect_masked,
)
from medi2i.segmentation.network import SegmenterTraining
from medi2i.segmentation.prediction import (
    CONFIG,
    FORMAT,
    MODEL,
    load_chosen_network,
    read_model,
)
from medi2i.segmentation.self_training import SelfTraining
from medi2i.segmentation.settings import SegmenterConfig
from medi2i.segmentation.unlabelled import (
    CropsWithFilms,
    UnlabelledFilms,
    decode_films,
    inspect_films,
    require_others,
)
from medi2i.training.checkpoint import has_checkpoint, load_checkpoint, load_networks
from medi2i.training.engine import DeviceName, make_accelerator
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.loop import Hooks, train
from medi2i.training.progress import Progress

_IMAGES = "images.sha256"  # of which images the training was begun


def train_segmenter(
    config: SegmenterConfig,
    folders: Sequence[Path],
    *,
    out: Path,
    device: DeviceName = "auto",
    seed: int | None = None,
    resume: bool = False,
    stop: StopRequest | None = None,
    adapt_to: Path | None = None,
    init_from: Path | None = None,
) -> Path:
    """Train a segmenter on the images and masks of data set folders, split by patient.

    Args:
        config: network, looks, crops and length.
        folders: data set folders with masks of the same structures in the same order; they are joined.
        out: model folder: `config.yaml`, `checkpoints/`, `log.jsonl`, and, as the mark of completeness,
            `model.json` with the structures and the Dice of held-out patients.
        seed: instead of the configuration's.
        resume: continue what an interrupted training left; what is complete is left as it is.
        stop: asked after every step; None listens to Ctrl-C and SIGTERM.
        adapt_to: films without masks that the segmenter is also trained on, by `config.self_training`; masks
            beside them are not opened.
        init_from: model folder whose chosen weights training starts from.

    Returns:
        `out`.

    Raises:
        OutputExistsError: `out` holds something else, or a training that is not to be resumed.
        UsageError: no masks, or `resume` with another configuration or other images.
        SameDomainError: a film of `adapt_to` is among the images with masks.
        MaskMismatchError: the folders show different structures.
        NothingUsableError: too few images.
        CheckpointError: `init_from` is no segmenter of these structures and this network.
        InterruptedRunError: a stop was requested; `resume` continues.
        NonFiniteLossError: training diverged.
    """
    config = config if seed is None else config.model_copy(update={"seed": seed})
    with nullcontext(stop) if stop is not None else stop_on_signals() as asked, ExitStack() as held:
        accelerator = make_accelerator(device, config.training.precision)
        if accelerator.is_main_process:
            _check_out(out, config, resume=resume)
            held.enter_context(hold_folder(out))
        accelerator.wait_for_everyone()
        images = inspect_masked(folders, config.data, seed=config.seed, tick=_ticker(asked, out))
        films = None if adapt_to is None else _inspect_films(adapt_to, config, asked, out)
        return train_on(
            config,
            images,
            out=out,
            accelerator=accelerator,
            stop=asked,
            films=films,
            init_from=init_from,
        )


def train_on(
    config: SegmenterConfig,
    images: Sequence[MaskedImages],
    *,
    out: Path,
    accelerator: Accelerator,
    stop: StopRequest,
    films: UnlabelledFilms | None = None,
    init_from: Path | None = None,
) -> Path:
    """`train_segmenter` on images that are read and split, e.g. those of a run; resumes what is there.

    Args:
        films: without masks, to be adapted to; None: the images with masks alone teach.
        init_from: model folder whose chosen weights training starts from.

    Raises:
        UsageError: `out` is of another configuration or of other images.
        NothingUsableError: no image to train on, or none held out.
        CheckpointError, InterruptedRunError, NonFiniteLossError: as `train_segmenter`.
    """
    structures = next((row.structures for folder in images for row in folder.rows), ())
    of_split = {name: [f.of_split(name) for f in images] for name in ("train", "validation", "test")}
    for name in ("train", "validation"):
        _require_some(of_split[name], name)
    if films is not None:
        require_others(films, images)
    trained, crops = _make_training(config, structures, of_split["train"], films)
    of_images = fingerprint(images, films.rows if films is not None else ())
    if init_from is not None and not is_finished(out):
        start_from(init_from, trained, structures, fresh=not has_checkpoint(out / "checkpoints"))
    if is_finished(out):
        _require_same(out, out / _IMAGES, of_images, "images")
        return out
    facts: dict[str, Any] = {"format": FORMAT, "structures": list(structures), "data_sha256": of_images}
    if films is not None:
        facts["adapted_to"] = {"films": len(films.rows), "skipped": films.skipped}
    if accelerator.is_main_process:
        _begin(out, config, facts)
    accelerator.wait_for_everyone()
    validate = make_validator(of_split["validation"], config)
    train(
        trained,
        crops,
        config.training,
        folder=out,
        seed=config.seed,
        accelerator=accelerator,
        stop=stop,
        hooks=Hooks(
            validate=lambda now: HeldOutDice(
                average(validate(now.network, accelerator.device)), adapted=now.adapted
            ),
            score=HeldOutDice,
            facts=facts | {"segmenter": config.model_dump(mode="json")},
        ),
        workers=config.data.workers,
    )
    if accelerator.is_main_process:
        _finish(out, facts, of_split, config, accelerator.device)
    accelerator.wait_for_everyone()
    return out


def start_from(origin: Path, trained: SegmenterTraining, structures: Sequence[str], *, fresh: bool) -> None:
    """Give a training that has no checkpoint of its own the chosen weights of a finished segmenter.

    Raises:
        CheckpointError: there is none, or it finds other structures, or has another network.
    """
    stored = read_model(origin)
    if stored["structures"] != list(structures):
        raise CheckpointError(
            origin,
            found=f"a segmenter of {', '.join(stored['structures'])}",
            expected=f"{', '.join(structures)}, in this order",
            remedy="start from a segmenter of the same structures",
        )
    if fresh:
        checkpoint = load_checkpoint(origin / "checkpoints", "BEST")
        load_networks(trained, checkpoint.networks | checkpoint.average, origin)


def _make_training(
    config: SegmenterConfig,
    structures: Sequence[str],
    images: Sequence[MaskedImages],
    films: UnlabelledFilms | None,
) -> tuple[SegmenterTraining, TrainingCrops]:
    """What learns, and what from."""
    seed, data = config.seed, config.data
    crops = MaskedCrops(decode_masked(images, data), data, seed=seed)
    if films is None:
        return SegmenterTraining(config, structures, seed=seed), crops
    steps = config.training.total_steps(crops.epoch_length)
    trained = SelfTraining(config, structures, seed=seed, steps=steps)
    return trained, CropsWithFilms(crops, decode_films(films, data), data, seed=seed)


def _finish(
    out: Path,
    facts: dict[str, Any],
    of_split: dict[str, list[MaskedImages]],
    config: SegmenterConfig,
    device: torch.device,
) -> None:
    """Write `model.json`: structures, temperature, and what is reached on patients not trained on."""
    measured: dict[str, Any] = {}
    network = load_chosen_network(out, config, facts["structures"], device)
    for name in ("validation", "test"):
        if any(folder.rows for folder in of_split[name]):
            scores = make_validator(of_split[name], config)(network, device)
            reached = average_by_structure(scores, facts["structures"])
            measured[name] = {"images": len(scores), "dice": reached}
    counts = {name: sum(len(f.rows) for f in folders) for name, folders in of_split.items()}
    temperature = fit_temperature(of_split["validation"], config, network, device)
    model = facts | {"images": counts, "held_out": measured, "temperature": round(temperature, 4)}
    write_text_atomically(out / MODEL, json.dumps(model, indent=1))


def _require_some(images: Sequence[MaskedImages], split: str) -> None:
    if not any(folder.rows for folder in images):
        raise NothingUsableError(
            "the segmenter",
            found=f"no image with masks for '{split}'",
            expected="images to train on, and others to choose the weights by",
            remedy="add images with masks",
        )


def _check_out(out: Path, config: SegmenterConfig, *, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise OutputExistsError(out, found="a file", expected="a folder", remedy="choose another --out")
    if not out.is_dir() or not any(out.iterdir()):
        return
    begun = out / CONFIG
    if not begun.is_file() or not resume:
        raise OutputExistsError(
            out,
            found="a segmenter" if begun.is_file() else "a folder that is no segmenter",
            expected="a new folder",
            remedy="continue it with --resume, or choose another --out"
            if begun.is_file()
            else "choose another --out",
        )
    _require_same(out, begun, dump_config(config), "configuration")


def _begin(out: Path, config: SegmenterConfig, facts: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for path, text, what in (
        (out / CONFIG, dump_config(config), "configuration"),
        (out / _IMAGES, facts["data_sha256"], "images"),
    ):
        if path.is_file():
            _require_same(out, path, text, what)
        write_text_atomically(path, text)


def _require_same(out: Path, path: Path, text: str, what: str) -> None:
    if path.read_text(encoding="utf-8") != text:
        raise UsageError(
            out,
            found=f"a segmenter that was begun with other {what}"
            if what == "images"
            else f"a segmenter that was begun with another {what}",
            expected=f"the same {what}, so that it can be resumed",
            remedy="choose another --out",
        )


def is_finished(out: Path) -> bool:
    """Whether a model folder is complete."""
    return (out / MODEL).is_file()


def _inspect_films(location: Path, config: SegmenterConfig, stop: StopRequest, out: Path) -> UnlabelledFilms:
    tick = _ticker(stop, out)
    return inspect_films(location, config.data, tick=lambda done, total: tick("films", done, total))


def _ticker(stop: StopRequest, out: Path) -> Callable[[str, int, int], None]:
    bars: dict[str, Progress] = {}

    def tick(folder: str, done: int, total: int) -> None:
        bar = bars.setdefault(folder, Progress("reading", total))
        bar.advance()
        if done == total:
            bar.close()
        stop.raise_if_requested(str(out), "run the same command again")

    return tick
