"""How alike two sets of images look to a feature extractor: kernel distances and Frechet distance.

For feature vectors of any extractor, in addition to `medi2i.metrics.distribution`, whose features need none.
Values depend on extractor, scaling and number of features: name them beside each value, show the split-half
floor of the same features, and rank nothing by any of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64
from scipy.spatial.distance import cdist

from medi2i.errors import UsageError
from medi2i.metrics.distribution import (
    Dissimilarity,
    SplitHalfFloor,
    draw_halves,
    number_patients,
    set_distance,
    set_floor,
)

_DEGREE = 3


def polynomial_mmd(
    x: Float[np.ndarray, "N D"],
    y: Float[np.ndarray, "M D"],
    *,
    x_groups: Sequence[str] | None = None,
    y_groups: Sequence[str] | None = None,
) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (a.b / D + 1)^3; may be below 0.

    The kernel inception distance (Binkowski et al., "Demystifying MMD GANs", ICLR 2018) on given features,
    over all pairs instead of a mean over subsets; the estimate is that of Gretton et al. (JMLR 13, 2012,
    eq. 3). It sees differences of the first three moments only. A square has no natural unit; features should
    have been scaled (`FeatureScaler.transform`).

    Args:
        x, y: features, one row an image; NaN gives NaN.
        x_groups, y_groups: patient of each image. Pairs within a patient then do not count, see
            `energy_distance`. None takes each image as drawn on its own.

    Returns:
        NaN when a set has fewer than two images, or with groups fewer than two patients.

    Raises:
        UsageError: groups and features differ in length.
    """
    return set_distance(_polynomial, x, y, x_groups=x_groups, y_groups=y_groups)


def polynomial_floor(
    features: Float[np.ndarray, "N D"],
    groups: Sequence[str] | None,
    *,
    rng: np.random.Generator,
    repeats: int = 200,
) -> SplitHalfFloor:
    """`polynomial_mmd` of random halves of real images, as in `distribution.split_half_floor`."""
    return set_floor(_polynomial, features, groups, rng=rng, repeats=repeats)


def median_bandwidth(reference: Float[np.ndarray, "N D"], groups: Sequence[str] | None = None) -> float:
    """Median Euclidean distance between images of different patients (Gretton et al., JMLR 13, 2012, sec. 8).

    Take it from real images once, and use it for every distance and floor of a table.

    Returns:
        NaN when there is no pair.

    Raises:
        UsageError: groups and features differ in length.
    """
    members = number_patients(reference, groups)
    pairs = np.triu(members[:, None] != members[None])
    return float(np.median(cdist(reference, reference)[pairs])) if pairs.any() else math.nan


def rbf_mmd(
    x: Float[np.ndarray, "N D"],
    y: Float[np.ndarray, "M D"],
    *,
    bandwidth: float,
    x_groups: Sequence[str] | None = None,
    y_groups: Sequence[str] | None = None,
) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel exp(-|a - b|^2 / (2 bandwidth^2)); below 2.

    Sees any difference of distributions, best at the scale of the bandwidth. Arguments, NaN and errors as in
    `polynomial_mmd`.

    Args:
        bandwidth: sigma, from `median_bandwidth` of real images; NaN gives NaN.

    Raises:
        UsageError: the bandwidth is not above 0, as when all real images have the same features.
    """
    return set_distance(_gaussian(bandwidth), x, y, x_groups=x_groups, y_groups=y_groups)


def rbf_floor(
    features: Float[np.ndarray, "N D"],
    groups: Sequence[str] | None,
    *,
    bandwidth: float,
    rng: np.random.Generator,
    repeats: int = 200,
) -> SplitHalfFloor:
    """`rbf_mmd` of random halves of real images, as in `distribution.split_half_floor`.

    Raises:
        UsageError: the bandwidth is not above 0.
    """
    return set_floor(_gaussian(bandwidth), features, groups, rng=rng, repeats=repeats)


def frechet_distance(
    x: Float[np.ndarray, "N D"], y: Float[np.ndarray, "M D"], *, shrinkage: float = 0.0
) -> float:
    """Squared Frechet distance of two normal distributions with the means and covariances of the sets, >= 0.

    |m - n|^2 + tr(S + T - 2 (S T)^(1/2)) (Dowson and Landau, J Multivar Anal 12, 1982; the FID of Heusel et
    al., NeurIPS 2017). Biased: it grows as images get fewer, by an amount that depends on the features
    (Chong and Forsyth, CVPR 2020), so it compares sets of one size only, and is never near 0. With fewer
    images than features the covariances are singular; the distance is still defined, and mostly bias.

    Images of one patient all count: where there are several, take as many of each patient.

    Args:
        x, y: features, one row an image.
        shrinkage: share, in [0, 1], by which each covariance is drawn to a multiple of the identity with
            the same trace (Ledoit and Wolf, J Multivar Anal 88, 2004). Lowers the bias and changes the
            measure: the same for all sets of a table, and no value of it is comparable with a published one.

    Returns:
        NaN when a set has fewer than two images, or a feature is not finite.

    Raises:
        UsageError: shrinkage is outside [0, 1].
    """
    if not 0 <= shrinkage <= 1:
        raise UsageError(
            "frechet_distance",
            found=f"shrinkage {shrinkage}",
            expected="a share in [0, 1]",
            remedy="leave it at 0 for the usual distance",
        )
    if min(len(x), len(y)) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return math.nan
    first, second = _covariance(x, shrinkage), _covariance(y, shrinkage)
    root = _square_root(first)
    # the eigenvalues of S T are those of the symmetric S^(1/2) T S^(1/2), and these are real
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0.0)).sum()
    shift = float(np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2))
    # rounding takes equal sets a little below 0
    return max(0.0, shift + float(np.trace(first) + np.trace(second) - 2 * shared))


def frechet_floor(
    features: Float[np.ndarray, "N D"],
    groups: Sequence[str] | None,
    *,
    rng: np.random.Generator,
    repeats: int = 50,
    shrinkage: float = 0.0,
) -> SplitHalfFloor:
    """`frechet_distance` of random halves of real images; its mean is the bias at half their number.

    Compare it with distances of sets of that size: those of all images have less bias.

    Args:
        features: one row an image; NaN gives NaN.
        groups: patient of each image; None takes each image as a patient.
        rng: source of randomness.
        repeats: number of random halvings; each takes three decompositions of D x D.
        shrinkage: as in `frechet_distance`.

    Returns:
        mean and sd NaN for fewer than four patients.

    Raises:
        UsageError: groups and features differ in length; shrinkage is outside [0, 1].
    """
    members = number_patients(features, groups)
    distances = np.array(
        [
            frechet_distance(features[half], features[~half], shrinkage=shrinkage)
            for half in draw_halves(members, repeats, rng)
        ]
    )
    mean, sd = (distances.mean(), distances.std(ddof=1)) if distances.size > 1 else (math.nan, math.nan)
    return SplitHalfFloor(float(mean), float(sd), len(features), np.unique(members).size, repeats)


def _polynomial(x: np.ndarray, y: np.ndarray) -> Float64[np.ndarray, "N M"]:
    return np.asarray(-((x @ y.T / x.shape[1] + 1.0) ** _DEGREE))


def _gaussian(bandwidth: float) -> Dissimilarity:
    if bandwidth <= 0:
        raise UsageError(
            "rbf_mmd",
            found=f"bandwidth {bandwidth}",
            expected="a bandwidth above 0",
            remedy="take median_bandwidth of real images that differ",
        )

    def dissimilarity(x: np.ndarray, y: np.ndarray) -> Float64[np.ndarray, "N M"]:
        return np.asarray(-np.exp(-cdist(x, y, "sqeuclidean") / (2 * bandwidth**2)))

    return dissimilarity


def _covariance(features: np.ndarray, shrinkage: float) -> Float64[np.ndarray, "D D"]:
    covariance = np.atleast_2d(np.cov(features, rowvar=False))
    target = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.asarray((1 - shrinkage) * covariance + shrinkage * target)


def _square_root(covariance: Float64[np.ndarray, "D D"]) -> Float64[np.ndarray, "D D"]:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
