"""Weights of CycleGAN's reference generator, under the names that they are published with.

The generator is one `Sequential` called `model`, so that a layer's name is its place. With n residual blocks:

    model.1                        7 x 7 convolution (after a reflected border)
    model.4, model.7               3 x 3 convolutions of stride 2
    model.10 ... model.(9 + n)     blocks: .conv_block.1 and .conv_block.5 (.6 with dropout) are convolutions
    model.(10 + n), model.(13 + n) 3 x 3 transposed convolutions of stride 2
    model.(17 + n)                 7 x 7 convolution, before the final tanh

Each has `.weight` and `.bias`; instance norms have neither. Files of 2017 also hold the norms' running
statistics, which the authors' code does not use and which are left out here. A name may start with `module.`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from medi2i.data.manifest import file_sha256
from medi2i.errors import CheckpointError, UsageError
from medi2i.networks.resnet import ResNetGeneratorConfig

_UNUSED = ("running_mean", "running_var", "num_batches_tracked")
_EXPECTED = "the reference ResNet generator of CycleGAN with instance norm"
_REMEDY = "see the names in docs/to-onnx.md"


@dataclass(frozen=True)
class ReferenceWeights:
    """One generator.

    Attributes:
        generator: its size.
        channels: of its images: 1 or 3.
        tensors: under the names of `ResNetGenerator`.
        sha256: of the file.
    """

    generator: ResNetGeneratorConfig
    channels: Literal[1, 3]
    tensors: dict[str, Tensor]
    sha256: str


def read_reference_weights(path: Path) -> ReferenceWeights:
    """Read a safetensors file, or a state dict that torch saved; nothing but tensors is unpickled.

    Raises:
        UsageError: there is no such file.
        CheckpointError: it is damaged, holds more than tensors, or is of another network.
    """
    published = {key.removeprefix("module."): value for key, value in _load(path).items()}
    published = {key: value for key, value in published.items() if not key.endswith(_UNUSED)}
    blocks = len({key.split(".")[1] for key in published if ".conv_block." in key})
    dropout = any(".conv_block.6." in key for key in published)
    names = reference_names(blocks, dropout=dropout)
    missing, unknown = sorted(set(names) - set(published)), sorted(set(published) - set(names))
    if missing or unknown:
        shown = f"no '{missing[0]}'" if missing else f"'{unknown[0]}'"
        raise _refuse(path, f"weights with {shown}")
    first, last = published["model.1.weight"], published[f"model.{17 + blocks}.weight"]
    width, channels = first.shape[0], first.shape[1] if first.ndim == 4 else 0
    if channels not in (1, 3) or last.shape[0] != channels:
        raise _refuse(
            path, f"{channels} channels in and {last.shape[0]} out, with 1 and 1 or 3 and 3 possible"
        )
    config = ResNetGeneratorConfig(width=width, blocks=blocks)
    tensors = {ours: published[theirs].float() for theirs, ours in names.items()}
    wanted = config.build(seed=0, channels=channels).state_dict()
    for theirs, ours in names.items():
        if tensors[ours].shape != wanted[ours].shape:
            raise _refuse(
                path,
                f"'{theirs}' of shape {tuple(tensors[ours].shape)} instead of {tuple(wanted[ours].shape)}",
            )
        if not bool(torch.isfinite(tensors[ours]).all()):
            raise _refuse(path, f"'{theirs}' with numbers that are not finite")
    return ReferenceWeights(config, 1 if channels == 1 else 3, tensors, file_sha256(path))


def reference_names(blocks: int, *, dropout: bool = False) -> dict[str, str]:
    """Published name to the name in `ResNetGenerator`, of every tensor of a generator."""
    layers = {"model.1": "stem.1", "model.4": "encode.0", "model.7": "encode.3"}
    for number in range(blocks):
        place = f"model.{10 + number}.conv_block"
        layers[f"{place}.1"] = f"transform.{number}.layers.1"
        layers[f"{place}.{6 if dropout else 5}"] = f"transform.{number}.layers.5"
    layers |= {
        f"model.{10 + blocks}": "decode.0",
        f"model.{13 + blocks}": "decode.3",
        f"model.{17 + blocks}": "paint.1",
    }
    kinds = ("weight", "bias")
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in layers.items() for kind in kinds}


def _load(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UsageError(path, found="no such file", expected="a file of weights", remedy="check the path")
    try:
        if path.suffix == ".safetensors":
            loaded: object = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a refused pickle, a damaged archive: torch raises about five types
        raise CheckpointError(
            path,
            found=f"no weights that can be read safely ({type(error).__name__})",
            expected="safetensors, or a state dict saved by torch that holds nothing but tensors",
            remedy="save generator.state_dict() alone, where the weights come from",
        ) from error
    if (
        isinstance(loaded, Mapping)
        and len(loaded) == 1
        and isinstance(inner := next(iter(loaded.values())), Mapping)
    ):
        loaded = inner  # e.g. {"state_dict": {...}}
    if (
        not isinstance(loaded, Mapping)
        or not loaded
        or not all(isinstance(v, Tensor) for v in loaded.values())
    ):
        raise _refuse(path, "no dictionary of tensors")
    return {str(key): value for key, value in loaded.items()}


def _refuse(path: Path, found: str) -> CheckpointError:
    shown = re.sub(r"[^\x20-\x7e]", "?", found)[:160]
    return CheckpointError(path, found=shown, expected=_EXPECTED, remedy=_REMEDY)
