"""Translate whole images with a trained run and write a data set folder: images, masks, provenance."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.adapters import AdapterConfig, Direction, DomainAdapter
from medi2i.adapters.baselines import Identity
from medi2i.config import validate_config
from medi2i.data.dataset_folder import discover
from medi2i.data.decoding import input_intensity, item_of, resize, working_shape
from medi2i.data.manifest import (
    ManifestRow,
    Skipped,
    file_sha256,
    inspect_folder,
    load_radiograph,
    write_manifest,
    write_skipped,
)
from medi2i.data.outputs import (
    PROVENANCE,
    carry_masks,
    image_path,
    keep_records,
    output_names,
    require_free,
    require_same_translation,
    write_tables,
)
from medi2i.data.settings import DataConfig
from medi2i.errors import CheckpointError, InputError, NothingUsableError
from medi2i.image import Domain, IntensityMap
from medi2i.io import write_radiograph
from medi2i.io.field import fill_outside
from medi2i.training.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, load_networks
from medi2i.training.engine import DeviceName, make_accelerator
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.progress import Progress

_DETAIL_GAIN = (0.25, 4.0)


@dataclass(frozen=True)
class Translator:
    """A trained adapter with everything that brings stored values in and out.

    Attributes:
        intensities: each domain's map, fitted on its training images.
        origin: where the weights come from, for provenance.
    """

    adapter: DomainAdapter
    data: DataConfig
    intensities: dict[str, IntensityMap]
    device: torch.device
    origin: dict[str, Any]

    def translate(
        self, image: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], direction: Direction
    ) -> tuple[Float32[np.ndarray, "H W"], dict[str, Any]]:
        """One image in [-1, 1] at its own matrix, and how it was done.

        The network sees the image at working scale. When that is smaller than the image, the detail the
        network did not see (image minus its smoothed self) is added back, scaled by how much the network
        changed the contrast of the detail it did see (a Laplacian pyramid of two levels). A method of any
        size gets the image as it is.

        Raises:
            CheckpointError: the network's output is not finite.
        """
        full = torch.from_numpy(image)[None]
        mask = torch.from_numpy(valid).float()[None]
        rows, columns = image.shape
        working_size = None if self.adapter.any_size else self.data.working_size
        shape = working_shape(rows, columns, working_size)
        small = resize(full, shape)
        small_valid = (resize(mask, shape) > 0.5).float()
        translated = translate_whole(self.adapter, small, small_valid, direction, self.device)
        self._require_finite(translated)
        how: dict[str, Any] = {"working_rows": shape[0], "working_columns": shape[1], "detail_gain": None}
        if shape != (rows, columns):
            smaller = max(shape) < max(rows, columns)
            gain = _detail_gain(small, translated) if smaller else 0.0
            how["detail_gain"] = round(gain, 4) if smaller else None
            lifted = resize(translated, (rows, columns))
            detail = full - resize(small, (rows, columns))
            translated = (lifted + gain * detail).clamp(-1, 1)
        result = torch.where(mask > 0.5, translated, torch.tensor(-1.0))
        return result[0].numpy(), how

    def output_intensity(self, incoming: IntensityMap, direction: Direction) -> IntensityMap:
        """The output domain's map; an image that does not change its domain keeps its own."""
        return incoming if isinstance(self.adapter, Identity) else self.intensities[domains(direction)[1]]

    def _require_finite(self, translated: Tensor) -> None:
        if not bool(torch.isfinite(translated).all()):
            raise CheckpointError(
                f"checkpoint of step {self.origin.get('step')}",
                found="weights that translate an image to NaN or infinite values",
                expected="finite values in [-1, 1]",
                remedy="train again with a lower learning rate or with precision fp32",
            )


def translate_whole(
    adapter: DomainAdapter, image: Tensor, valid: Tensor, direction: Direction, device: torch.device
) -> Tensor:
    """One (1, H, W) image through an adapter on its device, padded to its multiple and cropped back."""
    height, width = image.shape[-2:]
    image = torch.from_numpy(fill_outside(image[0].numpy(), valid[0].numpy() > 0))[None]
    pad = (0, -width % adapter.size_multiple, 0, -height % adapter.size_multiple)
    padded = F.pad(image[None], pad, mode="replicate").to(device)
    valid_padded = F.pad(valid[None].float(), pad).to(device)
    with torch.inference_mode():
        out = adapter.translate(padded, direction=direction, valid=valid_padded)
    return out[0, :, :height, :width].float().cpu()


def domains(direction: Direction) -> tuple[Domain, Domain]:
    """(from, to) of a direction."""
    return ("source", "target") if direction == "source-to-target" else ("target", "source")


def load_translator(run: Path, *, device: DeviceName = "auto", which: str = "BEST") -> Translator:
    """The translator of a run folder, from the checkpoint that the written rule chose.

    Raises:
        CheckpointError: the run holds no (undamaged) checkpoint.
    """
    folder = run / "checkpoints"
    checkpoint = load_checkpoint(folder, which)
    engine = make_accelerator(device, "fp32").device
    adapter = build_adapter(checkpoint, folder).to(engine).eval()
    weights = checkpoint_path(folder, which) / ("average" if checkpoint.average else "networks")
    return Translator(
        adapter=adapter,
        data=validate_config(checkpoint.state["data"], DataConfig, str(folder)),
        intensities={k: IntensityMap.from_dict(v) for k, v in checkpoint.state["intensities"].items()},
        device=engine,
        origin={
            "method": checkpoint.state["adapter"]["name"],
            "step": checkpoint.step,
            "weights_sha256": file_sha256(weights.with_suffix(".safetensors")),
        },
    )


def build_adapter(checkpoint: Checkpoint, origin: Path) -> DomainAdapter:
    """The adapter of a checkpoint, with averaged weights where there are any.

    Raises:
        CheckpointError: the weights don't fit the configuration stored beside them.
    """
    config: Any = TypeAdapter(AdapterConfig).validate_python(checkpoint.state["adapter"])
    adapter: DomainAdapter = config.build(seed=0)
    load_networks(adapter, checkpoint.networks | checkpoint.average, origin)
    return adapter


def translate(
    run: Path,
    location: Path,
    *,
    out: Path,
    direction: Direction = "source-to-target",
    device: DeviceName = "auto",
) -> list[Skipped]:
    """Translate a file or folder with a trained run and write a data set folder.

    Args:
        run: a run folder of `medi2i adapt`.
        location: an image, or a data set folder.
        out: new folder, or one that an interrupted translation left.

    Returns:
        images that could not be used; `out/skipped.jsonl` lists them.

    Raises:
        OutputExistsError: `out` holds something else, or another translation.
        NothingUsableError: not one image could be used.
        InterruptedRunError: Ctrl-C or SIGTERM; calling again continues.
    """
    require_free(out)
    translator = load_translator(run, device=device)
    with stop_on_signals() as stop:
        folder = discover(location)
        domain = domains(direction)[0]
        reading = Progress("reading", len(folder.items))
        rows, skipped = inspect_folder(
            folder,
            domain,
            translator.data.intensity(domain),
            salt=secrets.token_bytes(16),
            progress=lambda done, total: _tick(reading, stop, out),
        )
        reading.close()
        if not rows:
            raise NothingUsableError(
                location,
                found=f"{len(skipped)} image(s), none usable; the first: {skipped[0].reason}",
                expected="projection radiographs",
                remedy="see docs/dataset-folder.md for what is read",
            )
        require_same_translation(out, {_key(row, translator, direction) for row in rows})
        out.mkdir(parents=True, exist_ok=True)
        (out / PROVENANCE).touch()  # from here on, the folder is known as this translation's
        write_manifest(out / "manifest.jsonl", rows)
        write_skipped(out / "skipped.jsonl", skipped)
        write_translations(translator, rows, folder.root, out, direction=direction, stop=stop)
    return skipped


def write_translations(
    translator: Translator,
    rows: Sequence[ManifestRow],
    root: Path,
    out: Path,
    *,
    direction: Direction,
    stop: StopRequest,
) -> None:
    """Translate the images of a manifest into `out/images`, with their masks and tables.

    What an earlier, interrupted call finished with the same weights is left as it is.

    Raises:
        InterruptedRunError: a stop was requested; finished images stay.
        CheckpointError: the network's output is not finite.
    """
    keys = {row.id: _key(row, translator, direction) for row in rows}
    finished = keep_records(out, set(keys.values()))
    write_tables(rows, out)
    carry_masks(rows, root, out)
    names = output_names(rows)
    progress = Progress("translating", len(rows))
    with (out / PROVENANCE).open("a", encoding="utf-8") as stream:
        for row in rows:
            if keys[row.id] not in finished:
                path = image_path(out, names[row.id])
                record = _translate_one(translator, row, root, path, direction)
                record = {"key": keys[row.id], "output": path.relative_to(out).as_posix()} | record
                stream.write(json.dumps(record) + "\n")
                stream.flush()
            progress.advance()
            stop.raise_if_requested(str(out), "run the same command again to continue")
    progress.close()


def _tick(progress: Progress, stop: StopRequest, out: Path) -> None:
    progress.advance()
    stop.raise_if_requested(str(out), "run the same command again to continue")


def _require_unchanged(row: ManifestRow, root: Path) -> None:
    """Provenance states the hash of the manifest, so the file must still be that one."""
    if file_sha256(root / row.file) != row.sha256:
        raise InputError(
            root / row.file,
            found="other content than when the run began",
            expected="the file that manifest.jsonl lists",
            remedy="put it back, or start a new run",
        )


def _translate_one(
    translator: Translator, row: ManifestRow, root: Path, path: Path, direction: Direction
) -> dict[str, Any]:
    _require_unchanged(row, root)
    radiograph = load_radiograph(item_of(row, root))
    incoming = input_intensity(row, translator.intensities[domains(direction)[0]], translator.data)
    outgoing = translator.output_intensity(incoming, direction)
    image = incoming.to_network(radiograph.pixels, radiograph.header)
    translated, how = translator.translate(image, radiograph.valid, direction)
    write_radiograph(
        path,
        outgoing.to_stored(translated, radiograph.header),
        header=radiograph.header,
        template=root / row.file,
        method=translator.origin["method"],
    )
    return {
        "id": row.id,
        "input_sha256": row.sha256,
        "output_sha256": file_sha256(path),
        "direction": direction,
        **translator.origin,
        **how,
        "input_intensity": incoming.to_dict(),
        "output_intensity": outgoing.to_dict(),
        "clipped_fraction": incoming.clipped_fraction(radiograph.pixels, radiograph.valid, radiograph.header),
        "bits_stored": radiograph.header.bits_stored,
        "valid_fraction": row.valid_fraction,
    }


def _key(row: ManifestRow, translator: Translator, direction: Direction) -> str:
    facts = (row.id, row.output, row.sha256, translator.origin["weights_sha256"], direction)
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:24]


def _detail_gain(before: Tensor, after: Tensor) -> float:
    """How much the translation scaled fine detail: regression slope of its gradients on the input's."""
    slopes = [torch.diff(image, dim=dim) for dim in (-1, -2) for image in (before, after)]
    numerator = sum(float((slopes[i] * slopes[i + 1]).sum()) for i in (0, 2))
    denominator = sum(float(slopes[i].square().sum()) for i in (0, 2))
    low, high = _DETAIL_GAIN
    return min(high, max(low, numerator / denominator)) if denominator else low
