"""From a line integral to what a film viewer shows: exposure, scatter, blur, noise, and tone.

Each step is a function of its own, in the order of the physics; `render_film` chains them. The mapping is
the same for every film apart from noise and a small variation of exposure and tone, so that it can be
learnt; it isn't a point operation, because scatter and the display's range compression depend on the
neighbourhood.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64
from pydantic import Field
from scipy.ndimage import gaussian_filter

from medi2i.config import Config

Image = Float64[np.ndarray, "H W"]


class FilmConfig(Config):
    """A digital detector and its display.

    Attributes:
        beam_scale: factor on the line integral; below 1 for a harder beam than the attenuation was for.
        heel_effect: relative fall of the beam's intensity from the patient's feet end to the head end.
        scatter_fraction: scatter's share of the signal, over the whole image.
        scatter_sigma_fraction: spread of scatter (Gaussian sigma) relative to the shorter side.
        blur_px: detector and focus blur (Gaussian sigma).
        quanta: mean number of detected quanta per pixel without object; sets Poisson noise.
        electronic_noise: standard deviation of additive noise, relative to the unattenuated signal.
        latitude_compression: share of the coarse contrast that the display takes out, 0 for none.
        latitude_sigma_fraction: coarse means larger than this share of the shorter side.
        detail_gain: factor on finer contrast.
        tone_center: place of the tone curve's middle in the image's own range of log exposure, 0 to 1.
        tone_slope: steepness of the sigmoidal tone curve there.
        exposure_variation: relative spread of the exposure from film to film.
        tone_variation: spread of tone_center and relative spread of tone_slope from film to film.
        collimation_probability: share of films with a collimator's unexposed border.
        collimation_fraction: widest border relative to the side.
    """

    beam_scale: float = Field(default=0.92, gt=0)
    heel_effect: float = Field(default=0.15, ge=0, lt=1)
    scatter_fraction: float = Field(default=0.42, ge=0, lt=1)
    scatter_sigma_fraction: float = Field(default=0.09, gt=0, le=1)
    blur_px: float = Field(default=0.55, ge=0)
    quanta: float = Field(default=60_000.0, gt=0)
    electronic_noise: float = Field(default=0.0002, ge=0)
    latitude_compression: float = Field(default=0.82, ge=0, le=1)
    latitude_sigma_fraction: float = Field(default=0.08, gt=0, le=1)
    detail_gain: float = Field(default=1.7, gt=0)
    tone_center: float = Field(default=0.46, gt=0, lt=1)
    tone_slope: float = Field(default=5.8, gt=0)
    exposure_variation: float = Field(default=0.15, ge=0)
    tone_variation: float = Field(default=0.03, ge=0)
    collimation_probability: float = Field(default=0.0, ge=0, le=1)
    collimation_fraction: float = Field(default=0.06, ge=0, lt=0.5)


def render_film(
    line_integral: np.ndarray, config: FilmConfig, rng: np.random.Generator
) -> Float32[np.ndarray, "H W"]:
    """A film of the line integral (H, W), bone bright, in [0, 1].

    The same number of random values is drawn whatever the configuration, so that switching one effect off
    leaves the others of the film as they were.
    """
    exposure = float(np.exp(config.exposure_variation * rng.normal()))
    center = config.tone_center + config.tone_variation * float(rng.normal())
    slope = config.tone_slope * float(np.exp(config.tone_variation * rng.normal()))
    border, border_draw = rng.random(4), rng.random()
    quantum_noise, electronic_noise = rng.normal(size=(2, *line_integral.shape))

    primary = expose(line_integral, config.beam_scale, config.heel_effect)
    signal = add_scatter(primary, config.scatter_fraction, config.scatter_sigma_fraction)
    signal = gaussian_filter(signal, config.blur_px, mode="nearest") if config.blur_px else signal
    quanta = config.quanta * exposure
    noisy = signal + np.sqrt(signal / quanta) * quantum_noise + config.electronic_noise * electronic_noise
    attenuation = -np.log(np.maximum(noisy, 1.0 / quanta))
    attenuation = compress_latitude(
        attenuation, config.latitude_compression, config.latitude_sigma_fraction, config.detail_gain
    )
    film = apply_tone(attenuation, float(np.clip(center, 0.05, 0.95)), slope)
    if border_draw < config.collimation_probability:
        film = collimate(film, border * config.collimation_fraction)
    return film.astype(np.float32)


def expose(line_integral: np.ndarray, beam_scale: float, heel_effect: float) -> Image:
    """Primary intensity relative to the open beam (Beer-Lambert), falling linearly towards the first row."""
    heel = 1 - heel_effect * np.linspace(1.0, 0.0, line_integral.shape[0])[:, None]
    return heel * np.exp(-beam_scale * np.asarray(line_integral, dtype=np.float64))


def add_scatter(primary: Image, fraction: float, sigma_fraction: float) -> Image:
    """Primary plus scatter that is a wide blur of it.

    Args:
        primary: intensity.
        fraction: scatter / (scatter + primary), over the whole image.
        sigma_fraction: sigma of the blur relative to the shorter side.
    """
    wide = gaussian_filter(primary, sigma_fraction * min(primary.shape), mode="nearest")
    return (1 - fraction) * primary + fraction * wide


def compress_latitude(
    attenuation: Image, compression: float, sigma_fraction: float, detail_gain: float
) -> Image:
    """Less coarse contrast and more fine contrast, as a digital display's frequency processing does."""
    coarse = gaussian_filter(attenuation, sigma_fraction * min(attenuation.shape), mode="nearest")
    middle = float(np.median(coarse))
    return middle + (1 - compression) * (coarse - middle) + detail_gain * (attenuation - coarse)


def apply_tone(attenuation: Image, center: float, slope: float) -> Image:
    """Sigmoidal tone curve over the image's own range (1st to 99th percentile), scaled to [0, 1].

    y = (s(k(x - c)) - s(-kc)) / (s(k(1 - c)) - s(-kc)), with the logistic function s, slope k and center c;
    a constant image becomes 0.
    """
    low, high = np.percentile(attenuation, [1.0, 99.0])
    if not high > low:
        return np.zeros_like(attenuation)
    x = np.clip((attenuation - low) / (high - low), 0.0, 1.0)
    floor, ceiling = _logistic(-slope * center), _logistic(slope * (1 - center))
    return (_logistic(slope * (x - center)) - floor) / (ceiling - floor)


def collimate(film: Image, border: np.ndarray) -> Image:
    """Unexposed (white) border of given widths: top, bottom, left, right, relative to the sides."""
    rows, columns = film.shape
    top, bottom, left, right = np.rint(border * [rows, rows, columns, columns]).astype(int)
    framed = np.ones_like(film)
    framed[top : rows - bottom, left : columns - right] = film[top : rows - bottom, left : columns - right]
    return framed


def _logistic(x: np.ndarray | float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.asarray(x)))
