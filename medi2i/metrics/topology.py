"""Whether a predicted mask hangs together as the true one does: pieces, holes and centre lines.

Pixels are closed squares, as in a cubical complex: two that touch at a corner hang together, and so
background hangs together along sides only. With one connectivity for both, a diagonal line would cut the
background and yet have no length of its own (Rosenfeld, "Connectivity in digital pictures", JACM 17, 1970).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int, Integer
from scipy import ndimage, sparse

from medi2i.errors import UsageError

_TOUCHING = np.ones((3, 3), dtype=bool)


def betti_numbers(masks: Bool[np.ndarray, "K H W"]) -> Int[np.ndarray, "K 2"]:
    """Number of pieces and number of holes of each mask: a disc has (1, 0), a ring (1, 1), nothing (0, 0).

    Beyond the image there is background, so a ring that the border cuts open has no hole.
    """
    counts = [(ndimage.label(mask, _TOUCHING)[1], ndimage.label(~np.pad(mask, 1))[1] - 1) for mask in masks]
    return np.array(counts, dtype=np.int64).reshape(len(masks), 2)


def betti_error(
    predicted: Bool[np.ndarray, "K H W"],
    masks: Bool[np.ndarray, "K H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> Float64[np.ndarray, "K 2"]:
    """Differences of the numbers of pieces and of holes, >= 0; NaN where both masks are empty.

    It counts and does not look where: a piece that is lost here and invented there makes no difference. See
    `betti_matching_error`.

    Args:
        predicted: one plane a structure.
        masks: what is true, planes in the same order.
        valid: pixels that count; None: all. The others are background in both.

    Raises:
        UsageError: shapes differ.
    """
    predicted, masks = _check(predicted, masks, valid)
    error = np.abs(betti_numbers(predicted) - betti_numbers(masks)).astype(np.float64)
    return _without_empty(error, predicted, masks)


def betti_matching_error(
    predicted: Bool[np.ndarray, "K H W"],
    masks: Bool[np.ndarray, "K H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> Float64[np.ndarray, "K 2"]:
    """Pieces, and holes, of either mask that have no partner in the other; NaN where both masks are empty.

    A feature has a partner when both masks show it at the same place, that is, when it is one and the same in
    their union: the number of partners is the rank of the zigzag from either mask into the union (Carlsson
    and de Silva, "Zigzag persistence", Found Comput Math 10, 2010). For pieces this is the number of pieces
    of the union that hold some of both. A hole that both share must be left open by their union.

    Stucki et al. ("Topologically faithful image segmentation via induced matching of persistence barcodes",
    ICML 2023) ask the same of likelihoods, along all thresholds; this is no value of theirs. On binary masks
    a matching of barcodes depends on how ties between pixels of one value are broken; the rank does not.

    Args:
        predicted: one plane a structure.
        masks: what is true, planes in the same order.
        valid: pixels that count; None: all. The others are background in both.

    Raises:
        UsageError: shapes differ.
    """
    predicted, masks = _check(predicted, masks, valid)
    partners = np.array(
        [
            (_shared_pieces(found, true), _shared_holes(found, true))
            for found, true in zip(predicted, masks, strict=True)
        ],
        dtype=np.int64,
    ).reshape(len(masks), 2)
    error = (betti_numbers(predicted) + betti_numbers(masks) - 2 * partners).astype(np.float64)
    return _without_empty(error, predicted, masks)


def cl_dice(
    predicted: Bool[np.ndarray, "K H W"],
    masks: Bool[np.ndarray, "K H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> Float64[np.ndarray, " K"]:
    """Centre line Dice in [0, 1]: harmonic mean of the shares of each centre line that lie in the other mask.

    Shit et al., CVPR 2021, eq. 3, on masks: centre lines are thinned by SimpleITK, which keeps pieces and
    holes, unlike the soft skeleton that the paper trains with. For thin structures (ribs, clavicles); the
    centre line of a lung says little and takes seconds.

    A structure that is missed, or found where there is none, has 0; NaN where both masks are empty.

    Args:
        predicted: one plane a structure.
        masks: what is true, planes in the same order.
        valid: pixels that count; None: all. The others are background in both.

    Raises:
        UsageError: shapes differ.
    """
    predicted, masks = _check(predicted, masks, valid)
    pairs = zip(predicted, masks, strict=True)
    return np.array([_cl_dice(found, true) for found, true in pairs], dtype=np.float64)


def _check(
    predicted: np.ndarray, masks: np.ndarray, valid: np.ndarray | None
) -> tuple[Bool[np.ndarray, "K H W"], Bool[np.ndarray, "K H W"]]:
    if predicted.shape != masks.shape or masks.ndim != 3:
        raise UsageError(
            "pieces and holes",
            found=f"predicted masks {predicted.shape}, true masks {masks.shape}",
            expected="one shape (structures, rows, columns)",
            remedy="compare masks of one image, with the same structures in the same order",
        )
    return (predicted, masks) if valid is None else (predicted & valid, masks & valid)


def _without_empty(
    values: Float64[np.ndarray, "K 2"], predicted: np.ndarray, masks: np.ndarray
) -> Float64[np.ndarray, "K 2"]:
    there = (predicted | masks).any(axis=(1, 2))
    return np.where(there[:, None], values, np.nan)


def _shared_pieces(found: Bool[np.ndarray, "H W"], true: Bool[np.ndarray, "H W"]) -> int:
    """Pieces of the union that hold pixels of both."""
    pieces, _ = ndimage.label(found | true, _TOUCHING)
    return np.intersect1d(pieces[found], pieces[true]).size


def _shared_holes(found: Bool[np.ndarray, "H W"], true: Bool[np.ndarray, "H W"]) -> int:
    """Dimension of what the holes of both have in common among the holes of the union.

    The loop around a hole becomes, in the union, the sum of the loops around the union's holes inside it. So
    what both can express are sums over sets of the union's holes that are made up of whole holes of either:
    the connected sets of holes, linked when one holds a hole of the union that the other holds too. A set
    linked to the outside of either is none.
    """
    outside = 1
    found_regions, true_regions, regions = (_background(mask) for mask in (found, true, found | true))
    holes, first = np.unique(regions, return_index=True)
    first = first[holes > outside]
    if not first.size:
        return 0
    # a hole of the union lies in one region of each mask's background, so one of its pixels tells which
    left, right = found_regions.ravel()[first], true_regions.ravel()[first]
    offset = int(found_regions.max()) + 1
    right = np.where(right == outside, outside, right + offset)
    nodes = offset + int(true_regions.max()) + 1
    links = sparse.coo_array((np.ones(left.size), (left, right)), shape=(nodes, nodes))
    _, sets = sparse.csgraph.connected_components(links, directed=False)
    linked = np.unique(sets[left])
    return int(np.sum(linked != sets[outside]))


def _background(mask: Bool[np.ndarray, "H W"]) -> Integer[np.ndarray, "h w"]:
    """Regions of the background, with a margin: 0 is the mask, 1 what lies around it, more are holes."""
    # labels are given in the order of pixels, and the first one is of the margin
    regions: np.ndarray = ndimage.label(~np.pad(mask, 1))[0]
    return regions


def _cl_dice(found: Bool[np.ndarray, "H W"], true: Bool[np.ndarray, "H W"]) -> float:
    if not found.any() and not true.any():
        return float("nan")
    if not found.any() or not true.any():
        return 0.0
    precision = float(true[_center_line(found)].mean())
    sensitivity = float(found[_center_line(true)].mean())
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def _center_line(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    import SimpleITK

    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    # the margin: what touches the border of an image is not thinned from that side
    thin = SimpleITK.BinaryThinning(SimpleITK.GetImageFromArray(np.pad(mask[box], 1).astype(np.uint8)))
    line = np.zeros(mask.shape, dtype=bool)
    line[box] = SimpleITK.GetArrayFromImage(thin)[1:-1, 1:-1] > 0
    return line
