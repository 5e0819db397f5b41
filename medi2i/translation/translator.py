"""A trained adapter with everything that brings stored values in and out: one image at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.adapters import AdapterConfig, Direction, DomainAdapter
from medi2i.adapters.baselines import Identity
from medi2i.config import validate_config
from medi2i.data.decoding import resize, working_shape
from medi2i.data.manifest import file_sha256
from medi2i.data.settings import DataConfig
from medi2i.errors import CheckpointError, UsageError
from medi2i.image import Domain, IntensityMap
from medi2i.io.field import fill_outside
from medi2i.training.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, load_networks
from medi2i.training.engine import DeviceName, make_accelerator

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
        self,
        image: Float32[np.ndarray, "H W"],
        valid: Bool[np.ndarray, "H W"],
        direction: Direction,
        *,
        style: Any = None,
        attributes: Tensor | None = None,
    ) -> tuple[Float32[np.ndarray, "H W"], dict[str, Any]]:
        """One image in [-1, 1] at its own matrix, and how it was done.

        The network sees the image at working scale. When that is smaller than the image, the detail the
        network did not see (image minus its smoothed self) is added back, scaled by how much the network
        changed the contrast of the detail it did see (a Laplacian pyramid of two levels). A method of any
        size gets the image as it is.

        Args:
            image: in [-1, 1], at its own matrix.
            valid: where it is image.
            direction: which way.
            style, attributes: what the method is told, see its `translate`.

        Raises:
            CheckpointError: the network's output is not finite.
            UsageError: the method has no such style or attributes, or does not go this way.
        """
        full = torch.from_numpy(image)[None]
        mask = torch.from_numpy(valid).float()[None]
        rows, columns = image.shape
        small, small_valid = self.to_working_scale(image, valid)
        shape = (small.shape[-2], small.shape[-1])
        translated = translate_whole(
            self.adapter, small, small_valid, direction, self.device, style=style, attributes=attributes
        )
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

    def to_working_scale(
        self, image: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"]
    ) -> tuple[Float[Tensor, "1 h w"], Float[Tensor, "1 h w"]]:
        """Image and valid plane as the network sees them."""
        rows, columns = image.shape
        working_size = None if self.adapter.any_size else self.data.working_size
        shape = working_shape(rows, columns, working_size)
        small = resize(torch.from_numpy(image)[None], shape)
        small_valid = (resize(torch.from_numpy(valid).float()[None], shape) > 0.5).float()
        return small, small_valid

    @property
    def keeps_images(self) -> bool:
        """Whether images come out as they went in."""
        return isinstance(self.adapter, Identity)

    def output_intensity(self, incoming: IntensityMap, direction: Direction) -> IntensityMap:
        """The output domain's map; an image that does not change its domain keeps its own."""
        return incoming if self.keeps_images else self.intensities[domains(direction)[1]]

    def _require_finite(self, translated: Tensor) -> None:
        if not bool(torch.isfinite(translated).all()):
            raise CheckpointError(
                f"checkpoint of step {self.origin.get('step')}",
                found="weights that translate an image to NaN or infinite values",
                expected="finite values in [-1, 1]",
                remedy="train again with a lower learning rate or with precision fp32",
            )


def translate_whole(
    adapter: DomainAdapter,
    image: Tensor,
    valid: Tensor,
    direction: Direction,
    device: torch.device,
    *,
    style: Any = None,
    attributes: Tensor | None = None,
) -> Tensor:
    """One (1, H, W) image through an adapter on its device, padded to its multiple and cropped back."""
    height, width = image.shape[-2:]
    image = torch.from_numpy(fill_outside(image[0].numpy(), valid[0].numpy() > 0))[None]
    pad = (0, -width % adapter.size_multiple, 0, -height % adapter.size_multiple)
    padded = F.pad(image[None], pad, mode="replicate").to(device)
    valid_padded = F.pad(valid[None].float(), pad).to(device)
    with torch.inference_mode():
        out = adapter.translate(
            padded, direction=direction, valid=valid_padded, style=style, attributes=attributes
        )
    return out[0, :, :height, :width].float().cpu()


def domains(direction: Direction) -> tuple[Domain, Domain]:
    """(from, to) of a direction."""
    return ("source", "target") if direction == "source-to-target" else ("target", "source")


def load_translator(run: Path, *, device: DeviceName = "auto", which: str = "BEST") -> Translator:
    """The translator of a run folder, from the checkpoint that the written rule chose.

    Raises:
        UsageError: there is no such folder.
        CheckpointError: the run holds no (undamaged) checkpoint.
    """
    if not run.is_dir():
        raise UsageError(
            run, found="no such folder", expected="a run of medi2i adapt", remedy="check the path"
        )
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


def _detail_gain(before: Tensor, after: Tensor) -> float:
    """How much the translation scaled fine detail: regression slope of its gradients on the input's."""
    slopes = [torch.diff(image, dim=dim) for dim in (-1, -2) for image in (before, after)]
    numerator = sum(float((slopes[i] * slopes[i + 1]).sum()) for i in (0, 2))
    denominator = sum(float(slopes[i].square().sum()) for i in (0, 2))
    low, high = _DETAIL_GAIN
    return min(high, max(low, numerator / denominator)) if denominator else low
