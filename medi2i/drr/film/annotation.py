"""Side markers and words burned into the film, drawn with strokes; never an identity."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field, StringConstraints
from torch import Tensor

from medi2i.config import Config

# strokes on a grid 4 wide and 6 high, y downwards; points of one stroke are joined
_GLYPHS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "A": (((0, 6), (2, 0), (4, 6)), ((0.8, 4), (3.2, 4))),
    "B": (
        ((0, 3), (3, 3), (4, 3.8), (4, 5.2), (3, 6), (0, 6), (0, 0), (3, 0), (3.8, 0.7), (3.8, 2.3), (3, 3)),
    ),
    "C": (((4, 1), (3, 0), (1, 0), (0, 1), (0, 5), (1, 6), (3, 6), (4, 5)),),
    "D": (((0, 0), (2.5, 0), (4, 1.5), (4, 4.5), (2.5, 6), (0, 6), (0, 0)),),
    "E": (((4, 0), (0, 0), (0, 6), (4, 6)), ((0, 3), (3, 3))),
    "I": (((2, 0), (2, 6)),),
    "L": (((0, 0), (0, 6), (4, 6)),),
    "N": (((0, 6), (0, 0), (4, 6), (4, 0)),),
    "O": (((1, 0), (3, 0), (4, 1), (4, 5), (3, 6), (1, 6), (0, 5), (0, 1), (1, 0)),),
    "P": (((0, 6), (0, 0), (3, 0), (4, 1), (4, 2.3), (3, 3.3), (0, 3.3)),),
    "R": (((0, 6), (0, 0), (3, 0), (4, 1), (4, 2.3), (3, 3.3), (0, 3.3)), ((2, 3.3), (4, 6))),
    "S": (((4, 1), (3, 0), (1, 0), (0, 1), (0, 2), (1, 3), (3, 3), (4, 4), (4, 5), (3, 6), (1, 6), (0, 5)),),
    "T": (((0, 0), (4, 0)), ((2, 0), (2, 6))),
    "U": (((0, 0), (0, 5), (1, 6), (3, 6), (4, 5), (4, 0)),),
}
_ADVANCE, _HEIGHT = 6.0, 6.0  # of a letter, on that grid
Words = Annotated[str, StringConstraints(pattern=r"^[ABCDEILNOPRSTU]+$", max_length=12)]


class MarkerConfig(Config):
    """A side marker, and perhaps a word below it.

    `R` stands on the image's left and `L` on its right, where a frontal film shows the patient's right and
    left: the marker can't contradict the image.

    Attributes:
        side: the letter.
        words: e.g. AP, ERECT, SUPINE, PORTABLE; None for none.
        kind: `lead` lies on the detector: it is exposed, blurred and noisy as the rest; `electronic` is drawn
            on the finished film.
        box: True draws a frame around the letter.
        height_mm: of the letter, at the detector.
        margin: distance from the image's corner, relative to its sides.
        at_bottom: True for a lower corner.
        lead_attenuation: -ln(I / I0) of a lead letter.
    """

    side: Literal["R", "L"] = "R"
    words: Words | None = None
    kind: Literal["lead", "electronic"] = "lead"
    box: bool = False
    height_mm: float = Field(default=18.0, gt=0, le=80)
    margin: float = Field(default=0.04, ge=0, le=0.4)
    at_bottom: bool = False
    lead_attenuation: float = Field(default=3.0, gt=0)


def draw_marker(
    shape: tuple[int, int], config: MarkerConfig, *, spacing_mm: tuple[float, float], device: torch.device
) -> Float[Tensor, "H W"]:
    """Ink of the marker in [0, 1], 0 outside its strokes; anti-aliased over one pixel.

    What would reach over the image's border is cut off.
    """
    unit_mm = config.height_mm / _HEIGHT
    strokes = [_write(config.side, 0.0, 0.0, 1.0)]
    if config.box:
        strokes.append(torch.tensor(_FRAME, dtype=torch.float64))
    if config.words:
        strokes.append(_write(config.words, 0.0, _HEIGHT + 3.0, 0.6))
    segments_mm = torch.cat(strokes) * unit_mm
    reach_mm = segments_mm.amax((0, 1)) - segments_mm.amin((0, 1))
    height_mm, width_mm = shape[0] * spacing_mm[0], shape[1] * spacing_mm[1]
    left = (
        config.margin * width_mm
        if config.side == "R"
        else (1 - config.margin) * width_mm - float(reach_mm[0])
    )
    top = (
        (1 - config.margin) * height_mm - float(reach_mm[1])
        if config.at_bottom
        else config.margin * height_mm
    )
    segments_mm = segments_mm - segments_mm.amin((0, 1)) + torch.tensor([left, top], dtype=torch.float64)
    return _ink(shape, segments_mm, 0.35 * unit_mm, spacing_mm).to(torch.float32).to(device)


_FRAME = (
    ((-2.0, -2.0), (6.0, -2.0)),
    ((6.0, -2.0), (6.0, 8.0)),
    ((6.0, 8.0), (-2.0, 8.0)),
    ((-2.0, 8.0), (-2.0, -2.0)),
)


def _write(text: str, x: float, y: float, scale: float) -> Float[Tensor, "N 2 2"]:
    """Segments (start, end) in (x, y) grid units of letters in a row."""
    segments = [
        (start, end)
        for number, letter in enumerate(text)
        for stroke in (
            [((px + number * _ADVANCE) * scale + x, py * scale + y) for px, py in points]
            for points in _GLYPHS[letter]
        )
        for start, end in pairwise(stroke)
    ]
    return torch.tensor(segments, dtype=torch.float64)


def _ink(
    shape: tuple[int, int],
    segments_mm: Float[Tensor, "N 2 2"],
    half_width_mm: float,
    spacing_mm: tuple[float, float],
) -> Float[Tensor, "H W"]:
    """Ink of strokes: 1 within half a width of a segment, falling to 0 over one pixel."""
    pixel_mm = max(spacing_mm)
    reach_mm = half_width_mm + pixel_mm
    low, high = segments_mm.amin((0, 1)) - reach_mm, segments_mm.amax((0, 1)) + reach_mm
    limits = [
        (
            max(0, int(float(low[1 - axis]) / spacing_mm[axis])),
            int(float(high[1 - axis]) / spacing_mm[axis]) + 1,
        )
        for axis in (0, 1)
    ]
    ink = torch.zeros(shape, dtype=torch.float64)
    (top, bottom), (left, right) = (
        (first, min(last, n)) for (first, last), n in zip(limits, shape, strict=True)
    )
    if top >= bottom or left >= right:
        return ink
    y = (torch.arange(top, bottom, dtype=torch.float64) + 0.5) * spacing_mm[0]
    x = (torch.arange(left, right, dtype=torch.float64) + 0.5) * spacing_mm[1]
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[:, :, None]
    start, along = segments_mm[:, 0], segments_mm[:, 1] - segments_mm[:, 0]
    share = ((points - start) * along).sum(-1) / (along**2).sum(-1)
    nearest = start + share.clamp(0, 1)[..., None] * along
    distance_mm = (points - nearest).norm(dim=-1).amin(-1)
    ink[top:bottom, left:right] = (0.5 + (half_width_mm - distance_mm) / pixel_mm).clamp(0, 1)
    return ink
