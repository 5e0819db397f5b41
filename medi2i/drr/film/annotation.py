"""Side markers and words burned into the film, drawn with strokes; never an identity."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, StringConstraints
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config
from medi2i.drr.geometry import ViewName

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
_HALF_STROKE = 0.35
_CLEARANCE_MM = 4.0  # between a marker and the edge of the field
_WORDS_SIZE = 0.6  # relative to the letter, with strokes as much thinner
# mobile units and lying patients are taken from the front
_VIEW_OF: dict[str, ViewName] = {"PA": "PA", "AP": "AP", "PORTABLE": "AP", "SUPINE": "AP"}
_UPRIGHT_OF = {"ERECT": True, "SUPINE": False}
Words = Annotated[str, StringConstraints(pattern=r"^[ABCDEILNOPRSTU]+$", max_length=12)]


class MarkerConfig(Config):
    """A side marker, and perhaps a word below it.

    `R` stands on the image's left and `L` on its right, where a frontal film shows the patient's right and
    left: the marker can't contradict the image.

    Attributes:
        side: the letter.
        words: e.g. AP, PA, ERECT, SUPINE, PORTABLE; None for none.
        kind: `lead` lies on the detector: it is exposed, blurred and noisy as the rest; `electronic` is drawn
            on the finished film.
        box: True draws a frame around the letter.
        height_mm: of the letter, at the detector.
        margin: distance from the image's corner, relative to its sides; more where that isn't exposed.
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

    def agrees_with(self, view: ViewName, *, upright: bool) -> bool:
        """Whether its words are true of a film of this view, of a patient who stands or who lies."""
        words = self.words or ""
        return _VIEW_OF.get(words, view) == view and _UPRIGHT_OF.get(words, upright) == upright


def draw_marker(
    free: Bool[Tensor, "H W"], config: MarkerConfig, *, spacing_mm: tuple[float, float]
) -> Float[Tensor, "H W"]:
    """Ink of the marker in [0, 1], 0 outside its strokes; anti-aliased over one pixel.

    A marker is never cut: where its rectangle isn't all `free`, it is moved to the nearest place where it is,
    and there is none if there is no such place.

    Args:
        free: where it may lie: the exposed field.
        config: letter, words, size and corner.
        spacing_mm: (row, column) at the detector.
    """
    unit_mm = config.height_mm / _HEIGHT
    letter = [_write(config.side, 0.0, 0.0, 1.0)]
    if config.box:
        letter.append(torch.tensor(_FRAME, dtype=torch.float64))
    parts = [(torch.cat(letter) * unit_mm, _HALF_STROKE * unit_mm)]
    if config.words:
        words = _write(config.words, 0.0, _HEIGHT + 3.0, _WORDS_SIZE)
        parts.append((words * unit_mm, _HALF_STROKE * _WORDS_SIZE * unit_mm))
    points_mm = torch.cat([part for part, _ in parts])
    low, high = points_mm.amin((0, 1)), points_mm.amax((0, 1))
    corner = _corner_mm(free.shape, config, high - low, spacing_mm)
    ink = torch.zeros(free.shape, dtype=torch.float64)
    moved = _move_to_free(free, corner, corner + high - low, parts[0][1], spacing_mm)
    if moved is not None:
        for part, half_width_mm in parts:
            place = part - low + corner + moved
            ink = torch.maximum(ink, _ink((ink.shape[0], ink.shape[1]), place, half_width_mm, spacing_mm))
    return ink.to(torch.float32).to(free.device)


def _corner_mm(
    shape: torch.Size, config: MarkerConfig, size_mm: Float[Tensor, " 2"], spacing_mm: tuple[float, float]
) -> Float[Tensor, " 2"]:
    """(x, y) of the marker's upper left corner, `margin` from the image's corner that it belongs to."""
    whole = torch.tensor([shape[1] * spacing_mm[1], shape[0] * spacing_mm[0]], dtype=torch.float64)
    near, far = config.margin * whole, (1 - config.margin) * whole - size_mm
    return torch.stack([far[0] if config.side == "L" else near[0], far[1] if config.at_bottom else near[1]])


def _move_to_free(
    free: Bool[Tensor, "H W"],
    low_mm: Float[Tensor, " 2"],
    high_mm: Float[Tensor, " 2"],
    half_width_mm: float,
    spacing_mm: tuple[float, float],
) -> Float[Tensor, " 2"] | None:
    """(x, y) mm, a whole number of pixels, by which a rectangle gets into what is free; None if it can't.

    Args:
        free: where it may lie.
        low_mm, high_mm: (x, y) of its corners, in the middle of its outer strokes.
        half_width_mm: of the strokes.
        spacing_mm: (row, column).
    """
    reach_mm = half_width_mm + max(_CLEARANCE_MM, *spacing_mm)
    step = torch.tensor([spacing_mm[1], spacing_mm[0]], dtype=torch.float64)
    first = ((low_mm - reach_mm) / step).floor().long()
    width, height = (((high_mm + reach_mm) / step).ceil().long() - first).tolist()
    if height > free.shape[0] or width > free.shape[1]:
        return None
    taken = F.pad((~free).cpu().long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    across = taken[:, width:] - taken[:, :-width]
    fits = (across[height:] - across[:-height]) == 0
    if not fits.any():
        return None
    down = torch.arange(fits.shape[0]) - first[1]
    right = torch.arange(fits.shape[1]) - first[0]
    square = (down * spacing_mm[0])[:, None] ** 2 + (right * spacing_mm[1])[None, :] ** 2
    best = int(torch.where(fits, square, torch.inf).argmin())
    return torch.stack([right[best % fits.shape[1]], down[best // fits.shape[1]]]) * step


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
