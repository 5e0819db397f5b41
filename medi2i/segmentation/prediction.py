"""A trained segmenter on whole images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medi2i.config import load_config
from medi2i.data.decoding import resize, working_shape
from medi2i.errors import CheckpointError
from medi2i.io.field import fill_outside
from medi2i.segmentation.network import SegmenterTraining
from medi2i.segmentation.settings import SegmenterConfig
from medi2i.training.checkpoint import load_checkpoint, load_networks
from medi2i.training.engine import DeviceName, make_accelerator

MODEL = "model.json"
CONFIG = "config.yaml"
FORMAT = 1


@dataclass(frozen=True)
class Segmenter:
    """A trained segmenter and what it finds.

    Attributes:
        network: images (B, 1, H, W) in [-1, 1] to logits (B, K, H, W); sides are multiples of
            `config.size_multiple`.
        structures: names of the K planes.
        temperature: by which logits are divided, as held-out patients of the training's images fit it.
    """

    network: nn.Module
    structures: tuple[str, ...]
    config: SegmenterConfig
    device: torch.device
    temperature: float = 1.0

    def predict(
        self, image: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"]
    ) -> Float32[np.ndarray, "K H W"]:
        """Probability of each structure at each pixel, in [0, 1]; 0 where there is no image.

        The network sees the image at its working size; the answer is brought back to the image's matrix.

        Args:
            image: in [-1, 1], as `IntensityMap.to_network` makes it.
            valid: where there is an image.

        Raises:
            CheckpointError: the network's answer is not finite.
        """
        rows, columns = image.shape
        shape = working_shape(rows, columns, self.config.data.working_size)
        shown = show_outside(np.asarray(image, dtype=np.float32), valid, self.config)
        small = resize(torch.from_numpy(shown)[None], shape)
        logits = answer_whole(self.network, small, self.config.size_multiple, self.device)
        probability = (logits / self.temperature).sigmoid()
        if not bool(torch.isfinite(probability).all()):
            raise CheckpointError(
                "the segmenter",
                found="weights that answer with NaN or infinite values",
                expected="probabilities",
                remedy="train it again with a lower learning rate or with precision fp32",
            )
        # bicubic enlarging overshoots
        whole = resize(probability, (rows, columns)).clamp(0, 1).numpy()
        return np.where(valid, whole, np.float32(0)).astype(np.float32)


def show_outside(
    image: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], config: SegmenterConfig
) -> Float32[np.ndarray, "H W"]:
    """Pixels without an image as training mostly showed them: black, or, if they were ignored, filled."""
    if config.outside == "background":
        return np.where(valid, image, np.float32(-1))
    return fill_outside(image, valid)


def answer_whole(
    network: nn.Module, image: Float[Tensor, "1 H W"], multiple: int, device: torch.device
) -> Float[Tensor, "K H W"]:
    """Logits of one whole image at working scale, padded to what the network needs and cut back."""
    height, width = image.shape[-2:]
    # below two multiples the lowest level would hold one value, which instance norm can't take
    sides = [max(2 * multiple, side + -side % multiple) for side in (height, width)]
    pad = (0, sides[1] - width, 0, sides[0] - height)
    padded = F.pad(image[None], pad, mode="replicate").to(device)
    with torch.inference_mode():
        logits: Tensor = network(padded)
    return logits[0, :, :height, :width].float().cpu()


def load_segmenter(model: Path, *, device: DeviceName = "auto") -> Segmenter:
    """The segmenter of a model folder, with the weights that held-out patients chose.

    Raises:
        CheckpointError: the folder holds no finished segmenter, or its weights are damaged.
    """
    facts = read_model(model)
    config = load_config(model / CONFIG, SegmenterConfig)
    where = make_accelerator(device, "fp32").device
    structures = tuple(facts["structures"])
    network = load_chosen_network(model, config, structures, where)
    return Segmenter(network, structures, config, where, facts["temperature"])


def read_model(model: Path) -> dict[str, Any]:
    """`structures` and `temperature` of a finished model folder.

    Raises:
        CheckpointError: the folder holds no finished segmenter.
    """
    try:
        facts = json.loads((model / MODEL).read_text(encoding="utf-8"))
        structures, found = list(map(str, facts["structures"])), facts["format"]
        temperature = float(facts.get("temperature", 1))  # models of before it was fitted have none
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            model,
            found=f"no finished segmenter ({type(error).__name__})",
            expected=f"a folder with {MODEL}, {CONFIG} and checkpoints/",
            remedy="train it, or resume its training",
        ) from error
    if found != FORMAT:
        raise CheckpointError(
            model,
            found=f"a segmenter of format {found}",
            expected=f"format {FORMAT}",
            remedy="use the medi2i version that wrote it",
        )
    return {"structures": structures, "temperature": temperature}


def load_chosen_network(
    model: Path, config: SegmenterConfig, structures: Sequence[str], device: torch.device
) -> nn.Module:
    """The network with the weights that held-out patients chose, frozen.

    Raises:
        CheckpointError: there are none, or they are damaged or of another configuration.
    """
    checkpoint = load_checkpoint(model / "checkpoints", "BEST")
    trained = SegmenterTraining(config, structures, seed=0)
    load_networks(trained, checkpoint.networks | checkpoint.average, model)
    network = trained.network.to(device).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network
