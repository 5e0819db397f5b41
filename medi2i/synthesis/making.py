"""One draw becomes one image of the set: translated, judged, written; the same in every process."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medi2i.adapters import Direction
from medi2i.data.decoding import item_of
from medi2i.data.manifest import ManifestRow, file_sha256, load_radiograph
from medi2i.drr.threads import one_torch_thread
from medi2i.errors import InputError
from medi2i.evaluation import NetworkImage
from medi2i.image import Radiograph, RadiographHeader, choose_intensity
from medi2i.io.new_radiograph import write_new_radiograph
from medi2i.segmentation.appearance import AppearanceConfig, vary_appearance
from medi2i.synthesis.draws import Draw, DrawPlan
from medi2i.synthesis.formats import SetWriter
from medi2i.synthesis.gate import Gate, GateResult
from medi2i.synthesis.image import SyntheticImage, image_name
from medi2i.synthesis.sources import Sources, masks_of_row
from medi2i.training.engine import DeviceName
from medi2i.translation import Look, StyleRequest, Translator, choose_looks, load_translator

REJECTED = "rejected"
_BITS = 16
_DIRECTION: Direction = "source-to-target"
_STORED = (0.0, float(2**_BITS - 1))


@dataclass(frozen=True)
class Task:
    """All that a process needs to make any image of a set.

    Attributes:
        sources, plan, writer: what is drawn from, the draws, the format.
        runs: run folders.
        names: of the runs, each once.
        gates: of each run; None without a gate.
        attributes: acquisition of the output.
        randomise: random looks on top, if any.
        keep_rejected: whether rejected images are kept.
        device: where to compute.
    """

    sources: Sources
    plan: DrawPlan
    writer: SetWriter
    runs: tuple[Path, ...]
    names: tuple[str, ...]
    gates: tuple[Gate, ...] | None
    attributes: Mapping[str, str]
    randomise: AppearanceConfig | None
    keep_rejected: bool
    device: DeviceName


class Maker:
    """Makes images of a set; each run is loaded when its first image is drawn."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._runs: dict[int, tuple[Translator, Look]] = {}

    def make(self, number: int) -> dict[str, Any]:
        """Draw, translate, judge and write image `number`.

        Returns:
            its record: `number`, `files`, `entry` (None for a rejected image), `manifest`.

        Raises:
            InputError: a source image is no longer what it was.
            CheckpointError: a run's output is not finite.
            DiskFullError, EnvironmentProblemError: files can't be written.
        """
        with one_torch_thread():  # sums in one order: one process and many give the same bytes
            return self._make(self._task.plan.draw(number))

    def _make(self, draw: Draw) -> dict[str, Any]:
        task, row = self._task, self._task.sources.rows[draw.source]
        translator, look = self._run(draw)
        radiograph = _read(row, task.sources.root)
        settings = translator.data.intensity("source")
        incoming = choose_intensity(radiograph, settings, translator.intensities["source"])
        source = incoming.to_network(radiograph.pixels, radiograph.header)
        translated, _ = translator.translate(
            source, radiograph.valid, _DIRECTION, style=look.style, attributes=look.attributes
        )
        final = (
            translated
            if task.randomise is None
            else _vary(translated, radiograph.valid, task.randomise, draw)
        )
        masks = masks_of_row(row, task.sources.root)
        result = None
        if task.gates is not None:
            planes = dict(zip(task.sources.structures, masks, strict=True))
            image = NetworkImage(row, source, radiograph.valid)
            changed = None if task.randomise is None else final
            result = task.gates[draw.run].judge(image, translated, planes, final=changed)
        outgoing = translator.output_intensity(incoming, _DIRECTION)
        codes = outgoing.to_stored(final, _header(row)).astype(np.uint16)
        made = SyntheticImage(
            number=draw.number,
            name=image_name(draw.number),
            codes=codes,
            masks=masks,
            valid=radiograph.valid,
            spacing_mm=row.spacing_mm,
            split=row.split,
            patient=task.sources.patients[draw.source],
            view=task.sources.view(draw.source),
            method=str(translator.origin["method"]),
            weights_sha256=str(translator.origin["weights_sha256"]),
        )
        return self._write(draw, made, translator, look, result)

    def _run(self, draw: Draw) -> tuple[Translator, Look]:
        """Translator and look of a draw; a style that is drawn goes by its number."""
        if draw.run not in self._runs:
            translator = load_translator(self._task.runs[draw.run], device=self._task.device)
            request = StyleRequest(attributes=self._task.attributes)
            self._runs[draw.run] = (translator, choose_looks(translator, _DIRECTION, request)[0])
        translator, look = self._runs[draw.run]
        if draw.style is not None:
            facts = dict(look.facts) | {"style": "random", "draw": draw.style}
            look = dataclasses.replace(look, style=draw.style, facts=facts)
        return translator, look

    def _write(
        self,
        draw: Draw,
        image: SyntheticImage,
        translator: Translator,
        look: Look,
        result: GateResult | None,
    ) -> dict[str, Any]:
        task, row = self._task, self._task.sources.rows[draw.source]
        accepted = result is None or result.passed
        files: tuple[str, ...] = ()
        entry, told = None, {}
        if accepted:
            written = task.writer.write(image)
            files, entry, told = written.files, dict(written.entry), dict(written.facts)
        elif task.keep_rejected:
            files = (f"{REJECTED}/{image.name}.png",)
            write_new_radiograph(
                task.writer.out / files[0],
                image.codes,
                format="png",
                spacing_mm=image.spacing_mm or (1.0, 1.0),
            )
        manifest = {
            "id": image.name,
            "accepted": accepted,
            "files": list(files),
            "sha256": file_sha256(task.writer.out / files[0]) if files else None,
            "pixels_sha256": hashlib.sha256(image.codes.astype("<u2").tobytes()).hexdigest(),
            "split": image.split,
            "patient": image.patient,
            "view": image.view,
            "rows": row.rows,
            "columns": row.columns,
            "spacing_mm": image.spacing_mm,
            "spacing_origin": row.spacing_origin,
            "valid_fraction": row.valid_fraction,
            "source": {"file": row.file, "sha256": row.sha256},
            "run": {"folder": task.names[draw.run], **translator.origin},
            "look": dict(look.facts),
            "appearance_seed": draw.appearance_seed if task.randomise is not None else None,
            "structure_px": _areas(image, task.sources.structures),
            "overlapping_px": _overlapping(image, task.sources.structures),
            **told,
            "gate": None
            if result is None
            else {"passed": result.passed, "reason": result.reason, **result.facts},
        }
        return {"number": draw.number, "files": list(files), "entry": entry, "manifest": manifest}


def _read(row: ManifestRow, root: Path) -> Radiograph:
    """The image; the manifest states its hash, so it must still be that one."""
    if file_sha256(root / row.file) != row.sha256:
        raise InputError(
            root / row.file,
            found="other content than when this call began",
            expected="sources that stay as they are",
            remedy="put it back, and run the same command again",
        )
    return load_radiograph(item_of(row, root))


def _header(row: ManifestRow) -> RadiographHeader:
    return RadiographHeader("png", row.rows, row.columns, bits_stored=_BITS, value_range=_STORED)


def _vary(translated: np.ndarray, valid: np.ndarray, config: AppearanceConfig, draw: Draw) -> np.ndarray:
    """Another look; what is no image stays dark."""
    rng = torch.Generator().manual_seed(draw.appearance_seed)
    varied = vary_appearance(torch.from_numpy(translated)[None, None], config, rng)[0, 0].numpy()
    return np.where(valid, varied, np.float32(-1.0))


def _areas(image: SyntheticImage, structures: Sequence[str]) -> dict[str, int]:
    """Pixels of each structure that is there."""
    counts = image.masks.sum(axis=(1, 2)).tolist()
    return {name: int(count) for name, count in zip(structures, counts, strict=True) if count}


def _overlapping(image: SyntheticImage, structures: Sequence[str]) -> dict[str, int]:
    """Pixels of each structure that belong to another one, too."""
    shared = image.masks.sum(axis=0) > 1
    counts = (image.masks & shared).sum(axis=(1, 2)).tolist()
    return {name: int(count) for name, count in zip(structures, counts, strict=True) if count}
