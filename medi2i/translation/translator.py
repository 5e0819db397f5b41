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

from medi2i.adapters import AdapterConfig, Direction, DomainAdapter
from medi2i.adapters.baselines import Identity
from medi2i.config import validate_config
from medi2i.data.manifest import file_sha256
from medi2i.data.settings import DataConfig
from medi2i.errors import CheckpointError, UsageError
from medi2i.image import Domain, IntensityMap
from medi2i.training.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, load_networks
from medi2i.training.engine import DeviceName, make_accelerator
from medi2i.translation.scale import pad_to_multiple, to_own_matrix, to_working_scale


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

        The network sees the image at working scale; `scale.to_own_matrix` says how it comes back. A method of
        any size gets the image as it is.

        Args:
            image: in [-1, 1], at its own matrix.
            valid: where it is image.
            direction: which way.
            style, attributes: what the method is told, see its `translate`.

        Raises:
            CheckpointError: the network's output is not finite.
            UsageError: the method has no such style or attributes, or does not go this way.
        """
        small, small_valid = self.to_working_scale(image, valid)
        translated = translate_whole(
            self.adapter, small, small_valid, direction, self.device, style=style, attributes=attributes
        )
        self._require_finite(translated)
        return to_own_matrix(image, valid, small, translated)

    @property
    def working_size(self) -> int | None:
        """Longer side at which the network sees an image; None for the image's own."""
        return None if self.adapter.any_size else self.data.working_size

    def to_working_scale(
        self, image: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"]
    ) -> tuple[Float[Tensor, "1 h w"], Float[Tensor, "1 h w"]]:
        """Image and valid plane as the network sees them."""
        return to_working_scale(image, valid, self.working_size)

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
    padded, valid_padded = pad_to_multiple(image, valid, adapter.size_multiple)
    with torch.inference_mode():
        out = adapter.translate(
            padded[None].to(device),
            direction=direction,
            valid=valid_padded[None].to(device),
            style=style,
            attributes=attributes,
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
