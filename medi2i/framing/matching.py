"""How well two images agree where both are valid: at every shift at once, or at one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64
from scipy import fft

_SMALLEST_POWER = 1e-3  # of the largest: below, correlation is rounding noise


def correlate_shifts(
    film: Float64[np.ndarray, "H W"],
    film_valid: Bool[np.ndarray, "H W"],
    template: Float64[np.ndarray, "h w"],
    template_valid: Bool[np.ndarray, "h w"],
) -> tuple[Float64[np.ndarray, "R C"], Float64[np.ndarray, "R C"]]:
    """Pearson correlation over the common valid pixels, for every whole-pixel shift.

    Padfield 2012, Masked object registration in the Fourier domain, eq. 6 to 12.

    Returns:
        (R, C) correlation, 0 where one of the two is constant, and the number of common pixels. Element
        (r, c) is for template pixel (i, j) on film pixel (i + r, j + c); negative shifts are counted from
        the end.
    """
    size = tuple(
        fft.next_fast_len(a + b - 1, real=True) for a, b in zip(film.shape, template.shape, strict=True)
    )

    def transform(image: Float64[np.ndarray, "M N"]) -> np.ndarray:
        return np.asarray(fft.rfft2(image, size))

    def correlate(first: np.ndarray, second: np.ndarray) -> Float64[np.ndarray, "R C"]:
        return np.asarray(fft.irfft2(first * np.conj(second), size))

    here, there = film * film_valid, template * template_valid
    a, a_squared, a_valid = transform(here), transform(here * film), transform(film_valid.astype(float))
    b, b_squared, b_valid = (
        transform(there),
        transform(there * template),
        transform(template_valid.astype(float)),
    )
    count = np.maximum(np.rint(correlate(a_valid, b_valid)), 0)
    pixels = np.maximum(count, 1)
    a_sum, b_sum = correlate(a, b_valid), correlate(a_valid, b)
    power = np.maximum(correlate(a_squared, b_valid) - a_sum**2 / pixels, 0)
    power *= np.maximum(correlate(a_valid, b_squared) - b_sum**2 / pixels, 0)
    power = np.sqrt(power)
    floor = max(_SMALLEST_POWER * float(power.max()), np.finfo(float).tiny)
    covariance = correlate(a, b) - a_sum * b_sum / pixels
    return np.where(power > floor, covariance / np.maximum(power, floor), 0.0), count


def correlation(
    first: Float64[np.ndarray, " N"], second: Float64[np.ndarray, " N"], weight: Float64[np.ndarray, " N"]
) -> float:
    """Weighted Pearson correlation; 0 if a side is constant or has no weight."""
    total = float(weight.sum())
    if total <= 0:
        return 0.0
    first = first - (weight @ first) / total
    second = second - (weight @ second) / total
    power = (weight @ first**2) * (weight @ second**2)
    return float(weight @ (first * second) / np.sqrt(power)) if power > 0 else 0.0
