"""What was burned into a film: single marks such as a side's letter, and lines of text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import ndimage

_READING_SIDE = 512  # px: larger films are read at about this size
_TALLEST = 0.09  # of the longer side: what is higher is no character
_WIDEST = 0.5  # of the longer side: characters that touch make a word
_SMALLEST = 4  # px: what is lower can't be told from noise
_STANDS_OUT = 0.25  # of the image's range: how far writing is above its surroundings
_CORE = 0.6  # quantile of a mark's levels: what is brighter is no blurred edge of a stroke
_LEVEL_SPREAD = 0.2  # of the image's range: that the core of a mark may have
_STEP = 0.4  # of the range: between a mark and what is two pixels beside it
_GAP = 0.9  # of a character's height: what closes the gaps in a line
_STRETCHED = 2.5  # a line of text is this many times as long as high
_STROKES = 5  # that a row through a line of text crosses; a single letter has 3 at most
_TOP = 1.3  # of the range: saturated letters stay above the brightest bone


@dataclass(frozen=True, slots=True)
class Writing:
    """What seems to be burned in.

    Attributes:
        marks: small bright parts with flat, sharp strokes.
        lines: lines of text among them.
    """

    marks: int
    lines: int


def find_writing(pixels: Float[np.ndarray, "H W"]) -> Writing:
    """Marks and lines of text in an image: small, flat, sharp and brighter than what is around them.

    Text on a slant or upright counts as marks. Small metal parts, such as clips, can pass for marks; rows of
    them for text.

    Args:
        pixels: (H, W) bone bright, of any scale.
    """
    low, high = np.percentile(pixels, [0.5, 99.5])
    if not high > low:
        return Writing(0, 0)
    step = max(1, round(max(pixels.shape) / _READING_SIDE))
    image = np.minimum((pixels[::step, ::step] - low) / (high - low), _TOP)
    side = max(image.shape)
    size = max(5, round(_TALLEST * side) | 1)
    raised = ndimage.white_tophat(image, size=(size, size)) > _STANDS_OUT
    parts, _ = ndimage.label(raised, structure=np.ones((3, 3)))
    strokes = np.zeros(image.shape, dtype=bool)
    marks, heights = 0, []
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        own = parts[box] == number
        height, width = own.shape
        fits = _SMALLEST <= height <= _TALLEST * side and width <= _WIDEST * side
        if fits and not _is_frame(box, image.shape) and _is_drawn(image, parts, number, box):
            strokes[box] |= own
            marks += 1
            heights.append(height)
    return Writing(marks, _count_lines(strokes, heights))


def _is_drawn(
    image: Float[np.ndarray, "H W"], parts: Integer[np.ndarray, "H W"], number: int, box: tuple[slice, slice]
) -> bool:
    """Whether a part is of one gray level and ends in a step, as drawn strokes do and bones do not."""
    around = tuple(slice(max(0, part.start - 2), part.stop + 2) for part in box)
    own, levels = parts[around] == number, image[around]
    core = levels[own]
    core = core[core >= np.quantile(core, _CORE)]
    if np.quantile(core, 0.9) - np.quantile(core, 0.1) > _LEVEL_SPREAD:
        return False
    near = ndimage.binary_dilation(own, np.ones((3, 3)))
    ring = ndimage.binary_dilation(near, np.ones((3, 3))) & ~near
    return bool(ring.any() and np.median(core) - np.median(levels[ring]) >= _STEP)


def _is_frame(box: tuple[slice, slice], shape: tuple[int, ...]) -> bool:
    """Whether a part touches the border of the image: no character does."""
    rows, columns = box
    return 0 in (rows.start, columns.start) or rows.stop == shape[0] or columns.stop == shape[1]


def _count_lines(strokes: Bool[np.ndarray, "H W"], heights: list[int]) -> int:
    """Connected rows of marks that are long, low, and cross many strokes."""
    if not heights:
        return 0
    gap = max(3, round(_GAP * float(np.median(heights)))) | 1
    joined = ndimage.binary_closing(np.pad(strokes, gap), np.ones((1, gap)))[gap:-gap, gap:-gap]
    parts, _ = ndimage.label(joined, structure=np.ones((3, 3)))
    lines = 0
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        own = (parts[box] == number) & strokes[box]
        if own.shape[1] < _STRETCHED * own.shape[0]:
            continue
        starts = np.diff(own.astype(np.int8), axis=1, prepend=0) == 1
        lines += int(starts.sum(axis=1).max() >= _STROKES)
    return lines
