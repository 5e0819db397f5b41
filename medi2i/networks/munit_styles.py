"""Style codes: drawn, drawn for an image, between two, and what a user may ask for."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from medi2i.errors import UsageError


def sample_styles(count: int, size: int, generator: torch.Generator) -> Float[Tensor, "N S"]:
    """Codes from N(0, 1), float32, on the generator's device."""
    return torch.randn(count, size, generator=generator, device=generator.device)


def interpolate_styles(
    first: Float[Tensor, " S"], second: Float[Tensor, " S"], count: int
) -> Float[Tensor, "N S"]:
    """`count` codes on the straight line between two styles, both ends included."""
    fractions = torch.linspace(0, 1, count, dtype=first.dtype, device=first.device)
    return torch.lerp(first[None], second[None], fractions[:, None])


def styles_of_content(
    image: Float[Tensor, "B 1 H W"], valid: Float[Tensor, "B 1 H W"] | None, *, size: int, key: str
) -> Float[Tensor, "B S"]:
    """A code from N(0, 1) for each image, decided by `key` and by what the image shows where it is valid.

    Gray levels count to 16 bits. Drawn on the CPU, so that every device draws the same.
    """
    shown = image if valid is None else torch.where(valid > 0.5, image, torch.full_like(image, -1))
    codes = []
    for one in (shown.float().clamp(-1, 1) * 32767).round().to(torch.int16).cpu():
        facts = f"{tuple(one.shape)} {key}".encode()
        digest = hashlib.sha256(one.contiguous().numpy().tobytes() + facts).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        codes.append(sample_styles(1, size, generator))
    return torch.cat(codes).to(image) if codes else image.new_zeros(0, size)


def styles_as_asked(
    style: Any,
    image: Float[Tensor, "B 1 H W"],
    valid: Float[Tensor, "B 1 H W"] | None,
    *,
    size: int,
    key: str,
) -> Float[Tensor, "B S"]:
    """The codes that `style` means for these images.

    Args:
        style: an integer n: the n-th draw of each image, see `styles_of_content`; None or "random": the 0-th.
            "mean": the mean of N(0, 1), which is 0. A tensor of (S,), (1, S) or (B, S): itself.
        image: what is to be translated.
        valid: 1 where it is image.
        size: S.
        key: what decides a draw besides the image: seed and direction.

    Raises:
        UsageError: `style` is none of these, or a code is not finite.
    """
    count = image.shape[0]
    if isinstance(style, str) and style == "mean":
        return image.new_zeros(count, size)
    if style is None or (isinstance(style, str) and style == "random"):
        style = 0
    if isinstance(style, int) and not isinstance(style, bool):
        return styles_of_content(image, valid, size=size, key=f"{key} {style}")
    if isinstance(style, Tensor) and style.shape in {(size,), (1, size), (count, size)}:
        if bool(torch.isfinite(style).all()):
            return style.to(image).expand(count, size)
        raise _refused("codes that are not finite", count, size)
    if isinstance(style, Tensor):
        raise _refused(f"codes of shape {tuple(style.shape)}", count, size)
    raise _refused(repr(style) if isinstance(style, str) else type(style).__name__, count, size)


def _refused(found: str, count: int, size: int) -> UsageError:
    return UsageError(
        "style",
        found=found,
        expected=f"mean, random, an integer, or finite codes of shape ({size},) or ({count}, {size})",
        remedy="encode reference images with encode_style, or draw codes with sample_styles",
    )
