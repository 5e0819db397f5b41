"""Images as readers see them: all of one size and bit depth, so that only their look can tell them apart."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy.ndimage import gaussian_filter

_BLUR_FRACTION = 1 / 32  # of the side: ribs are gone
_NOISE = 0.5  # standard deviation, of a range that is 2 wide


def to_picture(
    image: Float[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], side: int
) -> UInt8[np.ndarray, "side side"]:
    """The central square of a [-1, 1] image as 8-bit grey; black where the image is not valid.

    A square, since the ratio of the sides would tell a film from a DRR.
    """
    filled = np.where(valid, np.clip(image, -1, 1), -1).astype(np.float32)
    edge = min(filled.shape)
    top, left = ((length - edge) // 2 for length in filled.shape)
    square = Image.fromarray(filled[top : top + edge, left : left + edge])
    resized = np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))
    return _to_codes(resized)


def spoil(picture: UInt8[np.ndarray, "S S"], rng: np.random.Generator) -> UInt8[np.ndarray, "S S"]:
    """A picture that nobody who looks takes for a film: blurred by 1/32 of its side, under heavy noise."""
    scaled = picture / 127.5 - 1
    blurred = gaussian_filter(scaled, _BLUR_FRACTION * len(picture))
    return _to_codes(blurred + rng.normal(scale=_NOISE, size=picture.shape))


def encode_png(picture: UInt8[np.ndarray, "S S"]) -> bytes:
    """8-bit grey PNG that holds pixels and nothing else."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _to_codes(scaled: np.ndarray) -> np.ndarray:
    codes: np.ndarray = np.rint((np.clip(scaled, -1, 1) + 1) * 127.5).astype(np.uint8)
    return codes
