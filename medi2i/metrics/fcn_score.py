"""FCN-score: whether a segmenter finds in translated images what their masks say (Isola et al., CVPR 2017).

The published score (section 3.4 of CycleGAN, ICCV 2017) takes the metrics of Long et al. (CVPR 2015,
section 5) on classes that exclude each other. Structures of a radiograph overlap, so each is a class of its
own, and "no structure" is one more: a pixel belongs to it when it belongs to no other. Where classes do
exclude each other, all three numbers are those of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

Answer = tuple[Bool[np.ndarray, "K H W"], Bool[np.ndarray, "K H W"], Bool[np.ndarray, "H W"] | None]


@dataclass(frozen=True)
class FCNScore:
    """The three numbers, in [0, 1], and what they are means of; NaN where nothing is defined.

    Attributes:
        pixel_accuracy: mean over pixels of |P and M| / |P or M|, P and M the sets of classes a pixel was
            given and belongs to (accuracy of multi-label answers: Godbole, Sarawagi, PAKDD 2004). With one
            class a pixel it is the share of pixels that are right.
        class_accuracy: mean over classes that the masks show of the share of their pixels that was found.
        class_iou: mean over classes that masks or answers show of intersection over union.
        accuracies, ious: of each class, structures in their order and then "no structure"; NaN where the
            class is not shown.
    """

    pixel_accuracy: float
    class_accuracy: float
    class_iou: float
    accuracies: Float64[np.ndarray, " C"]
    ious: Float64[np.ndarray, " C"]


@dataclass(frozen=True)
class FCNCounts:
    """Pixels of a set of images, from which the three numbers follow; sets are joined by `+`.

    Attributes:
        shared, true, union: pixels of each class that are in answer and masks, in the masks, and in either.
        agreement: sum over pixels of |P and M| / |P or M|.
        pixels: how many there are.
    """

    shared: Float64[np.ndarray, " C"]
    true: Float64[np.ndarray, " C"]
    union: Float64[np.ndarray, " C"]
    agreement: float
    pixels: int

    def __add__(self, other: FCNCounts) -> FCNCounts:
        return FCNCounts(
            self.shared + other.shared,
            self.true + other.true,
            self.union + other.union,
            self.agreement + other.agreement,
            self.pixels + other.pixels,
        )

    def score(self) -> FCNScore:
        """The FCN-score of the set."""
        accuracies, ious = _ratio(self.shared, self.true), _ratio(self.shared, self.union)
        return FCNScore(
            pixel_accuracy=self.agreement / self.pixels if self.pixels else math.nan,
            class_accuracy=_mean(accuracies),
            class_iou=_mean(ious),
            accuracies=accuracies,
            ious=ious,
        )


def count_classes(
    predicted: Bool[np.ndarray, "K H W"],
    masks: Bool[np.ndarray, "K H W"],
    valid: Bool[np.ndarray, "H W"] | None,
) -> FCNCounts:
    """What one image adds to the FCN-score; `valid` is the pixels that count, None: all."""
    found, there = (
        _with_background(planes.reshape(len(planes), -1) if valid is None else planes[:, valid])
        for planes in (predicted, masks)
    )
    both, either = found & there, found | there
    shared, true, union = (
        np.array([np.count_nonzero(plane) for plane in planes], dtype=np.float64)
        for planes in (both, there, either)
    )
    # a pixel has at least one class, so `either` is never empty
    in_both, in_either = (planes.sum(axis=0, dtype=np.uint16) for planes in (both, either))
    agreement = float(np.divide(in_both, in_either, dtype=np.float64).sum())
    return FCNCounts(shared, true, union, agreement, int(both.shape[1]))


def fcn_score(answers: Iterable[Answer]) -> FCNScore:
    """FCN-score of a set of images; pixels of all images are counted together, as the paper does.

    Args:
        answers: of each image the segmenter's masks of the translation, the masks carried from the source,
            and the pixels that count (None: all).
    """
    nothing = FCNCounts(np.zeros(0), np.zeros(0), np.zeros(0), 0.0, 0)
    counts = [count_classes(*answer) for answer in answers]
    return sum(counts[1:], counts[0]).score() if counts else nothing.score()


def _with_background(planes: Bool[np.ndarray, "K N"]) -> Bool[np.ndarray, "C N"]:
    return np.concatenate([planes, ~planes.any(axis=0, keepdims=True)])


def _ratio(part: Float64[np.ndarray, " C"], whole: Float64[np.ndarray, " C"]) -> Float64[np.ndarray, " C"]:
    ratio: Float64[np.ndarray, " C"] = np.divide(
        part, whole, out=np.full(len(whole), np.nan), where=whole > 0
    )
    return ratio


def _mean(values: Float64[np.ndarray, " C"]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan
