"""A film of what the beam passed: all steps of the physics, one after the other.

Every step is a function of its own in the modules beside this one, and none moves anatomy: a film lies pixel
on pixel over its line integral.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int32
from pydantic import Field
from torch import Tensor

from medi2i.config import Config
from medi2i.drr.film.annotation import MarkerConfig, draw_marker
from medi2i.drr.film.beam import CollimationConfig, HeelConfig, attenuate, collimate, heel_profile
from medi2i.drr.film.detector import (
    ExposureConfig,
    add_quantum_noise,
    quanta_per_mm2_ugy,
    read_out,
    scale_to_kerma,
)
from medi2i.drr.film.display import DisplayConfig, compress_latitude, respond, scale_to_range
from medi2i.drr.film.optics import SharpnessConfig, detector_mtf, focal_spot_mtf, frequencies, transfer
from medi2i.drr.film.scatter import GridConfig, ScatterConfig, estimate_scatter, grid_lines, pass_grid
from medi2i.drr.film.smoothing import fill
from medi2i.drr.film.tone import Photometric, StorageConfig, ToneConfig, apply_tone, dequantise, quantise
from medi2i.drr.spectrum import SpectrumConfig

_DIRECT_EXPOSURE = 0.1  # attenuation below which a ray has missed the patient
_FILL_SHARE = 0.03  # of the shorter side: how far a film's content is continued outside its field


class FilmConfig(Config):
    """One film's complete settings, in the order of the physics.

    Attributes:
        line_integral_kev: photon energy that line integrals of unknown materials were computed for.
        collimation: None for a field that covers the image.
        grid: None for none.
        marker: None for none.
    """

    spectrum: SpectrumConfig = SpectrumConfig()
    line_integral_kev: float = Field(default=70.0, ge=20, le=150)
    heel: HeelConfig = HeelConfig()
    collimation: CollimationConfig | None = None
    scatter: ScatterConfig = ScatterConfig()
    grid: GridConfig | None = GridConfig()
    sharpness: SharpnessConfig = SharpnessConfig()
    exposure: ExposureConfig = ExposureConfig()
    display: DisplayConfig = DisplayConfig()
    tone: ToneConfig = ToneConfig()
    marker: MarkerConfig | None = None
    storage: StorageConfig = StorageConfig()


@dataclass(frozen=True, slots=True)
class Film:
    """A film as a detector stores it.

    Attributes:
        codes: 0 .. 2**bits_stored - 1; bone bright, dark in MONOCHROME1.
        bits_stored, photometric_interpretation: as in DICOM.
        exposed: inside the collimator and where the line integral was valid.
        annotation: where a marker or word can be seen.
    """

    codes: Int32[Tensor, "*batch H W"]
    bits_stored: int
    photometric_interpretation: Photometric
    exposed: Bool[Tensor, "*batch H W"]
    annotation: Bool[Tensor, "*batch H W"]

    def brightness(self) -> Float[Tensor, "*batch H W"]:
        """Bone-bright values in [0, 1], whatever the polarity and bit depth."""
        storage = StorageConfig(
            bits_stored=self.bits_stored, photometric_interpretation=self.photometric_interpretation
        )
        return dequantise(self.codes, storage)


@dataclass(frozen=True, slots=True)
class LightField:
    """The collimator's transmission, exposed pixels, those of them behind the patient, the marker's ink."""

    transmission: Float[Tensor, "H W"]
    exposed: Bool[Tensor, "*batch H W"]
    patient: Bool[Tensor, "*batch H W"]
    ink: Float[Tensor, "H W"] | None


def render_film(
    paths: Float[Tensor, "*batch M H W"],
    config: FilmConfig,
    *,
    spacing_mm: tuple[float, float],
    magnification: float,
    generator: torch.Generator,
    valid: Bool[Tensor, "*batch H W"] | None = None,
) -> Film:
    """The film of what the beam passed, pixel on pixel.

    The same random numbers are drawn whatever the configuration, so that switching one effect off leaves the
    noise of the others as it was.

    Args:
        paths: M = 1: line integrals; M = 2: mm of water and of cortical bone.
        config: beam, detector and display.
        spacing_mm: (row, column) at the detector.
        magnification: source-to-detector over source-to-patient, for the focal spot's penumbra.
        generator: of the device that `paths` are on.
        valid: where `paths` are known; elsewhere they are continued smoothly, and count in nothing.

    Raises:
        UsageError: `paths` has neither one nor two planes.
    """
    rows, columns = paths.shape[-2:]
    paths = paths.to(torch.float32)
    if valid is not None:
        paths = fill(paths, valid.unsqueeze(-3).expand(paths.shape), _FILL_SHARE * min(rows, columns))
    attenuation = attenuate(paths, config.spectrum, config.line_integral_kev)
    normal = torch.randn((2, *attenuation.shape), generator=generator, device=paths.device)
    phase = torch.rand((*attenuation.shape[:-2], 1, 1), generator=generator, device=paths.device)
    lit = _light_field(attenuation, config, spacing_mm, valid)
    kerma_ugy = expose(attenuation, config, lit, spacing_mm=spacing_mm, phase=2 * math.pi * phase)
    read_ugy = detect(kerma_ugy, config, normal, spacing_mm=spacing_mm, magnification=magnification)
    brightness = develop(read_ugy, config, lit, spacing_mm=spacing_mm)
    annotation = torch.zeros_like(lit.exposed)
    if lit.ink is not None:
        annotation = (lit.ink > 0).expand(lit.exposed.shape)
        if config.marker is not None and config.marker.kind == "electronic":
            brightness = brightness + lit.ink * (1 - brightness)
    return Film(
        codes=quantise(brightness, config.storage),
        bits_stored=config.storage.bits_stored,
        photometric_interpretation=config.storage.photometric_interpretation,
        exposed=lit.exposed,
        annotation=annotation,
    )


def expose(
    attenuation: Float[Tensor, "*batch H W"],
    config: FilmConfig,
    lit: LightField,
    *,
    spacing_mm: tuple[float, float],
    phase: Float[Tensor, "*batch 1 1"],
) -> Float[Tensor, "*batch H W"]:
    """Mean air kerma in µGy at the detector: heel, collimator, patient, scatter, grid, automatic exposure."""
    rows, columns = attenuation.shape[-2:]
    heel = heel_profile((rows, columns), config.heel, attenuation.device)
    primary = torch.exp(-attenuation) * heel * lit.transmission
    scatter = estimate_scatter(
        primary, attenuation, config.scatter, counted=lit.patient, spacing_mm=spacing_mm
    )
    intensity = pass_grid(primary, scatter, config.grid)
    if config.grid is not None and config.grid.line_modulation > 0:
        lines = grid_lines((rows, columns), config.grid, spacing_mm=spacing_mm, phase=phase)
        intensity = intensity * lines
    chambers = torch.where(lit.patient.any(-1, True).any(-2, True), lit.patient, lit.exposed)
    kerma_ugy = scale_to_kerma(intensity, config.exposure.detector_air_kerma_ugy, chambers=chambers)
    if lit.ink is not None and config.marker is not None and config.marker.kind == "lead":
        kerma_ugy = kerma_ugy * torch.exp(-config.marker.lead_attenuation * lit.ink)
    return kerma_ugy


def detect(
    kerma_ugy: Float[Tensor, "*batch H W"],
    config: FilmConfig,
    normal: Float[Tensor, "2 *batch H W"],
    *,
    spacing_mm: tuple[float, float],
    magnification: float,
) -> Float[Tensor, "*batch H W"]:
    """Air kerma in µGy as read out: focal spot, quantum noise, detector blur, electronic noise, saturation.

    The focal spot's blur is applied to the scatter too, which is far too smooth to notice.
    """
    shape = (kerma_ugy.shape[-2], kerma_ugy.shape[-1])
    row, column = frequencies(shape, spacing_mm, kerma_ugy.device)
    spot = focal_spot_mtf(row, column, config.sharpness.focal_spot_mm, magnification)
    blur = detector_mtf(row, column, config.sharpness, spacing_mm)
    per_mm2 = quanta_per_mm2_ugy(config.spectrum.kvp) * config.exposure.detective_efficiency
    quanta_per_ugy = per_mm2 * spacing_mm[0] * spacing_mm[1]
    if config.exposure.noise_through_detector:
        noisy = add_quantum_noise(transfer(kerma_ugy, spot), normal[0], quanta_per_ugy=quanta_per_ugy)
        detected = transfer(noisy, blur)
    else:
        blurred = transfer(kerma_ugy, spot * blur)
        detected = add_quantum_noise(blurred, normal[0], quanta_per_ugy=quanta_per_ugy)
    return read_out(detected, normal[1], config.exposure)


def develop(
    kerma_ugy: Float[Tensor, "*batch H W"],
    config: FilmConfig,
    lit: LightField,
    *,
    spacing_mm: tuple[float, float],
) -> Float[Tensor, "*batch H W"]:
    """Brightness in [0, 1]: response, multi-scale processing, range, tone curve, shutter."""
    contrast = respond(kerma_ugy, config.exposure.detector_air_kerma_ugy, config.display)
    inside = contrast
    if config.collimation is not None:
        inside = fill(contrast, lit.exposed, _FILL_SHARE * min(contrast.shape[-2:]))
    processed = compress_latitude(inside, config.display, counted=lit.exposed, spacing_mm=spacing_mm)
    counted = lit.patient
    if lit.ink is not None and config.marker is not None and config.marker.kind == "lead":
        counted = counted & (lit.ink == 0)
    brightness = apply_tone(scale_to_range(processed, config.display, counted=counted), config.tone)
    if config.collimation is None:
        return brightness
    if config.collimation.shutter == "none":
        return brightness * lit.transmission + (1 - lit.transmission)
    level = 1.0 if config.collimation.shutter == "white" else 0.0
    return torch.where(lit.transmission >= 1, brightness, torch.full_like(brightness, level))


def _light_field(
    attenuation: Float[Tensor, "*batch H W"],
    config: FilmConfig,
    spacing_mm: tuple[float, float],
    valid: Bool[Tensor, "*batch H W"] | None,
) -> LightField:
    shape, device = (attenuation.shape[-2], attenuation.shape[-1]), attenuation.device
    transmission, inside = collimate(shape, config.collimation, spacing_mm=spacing_mm, device=device)
    exposed = inside.expand(attenuation.shape)
    exposed = exposed if valid is None else exposed & valid
    ink = None
    if config.marker is not None:
        free = exposed.reshape(-1, *shape).all(dim=0)
        ink = draw_marker(free, config.marker, spacing_mm=spacing_mm)
    return LightField(transmission, exposed, exposed & (attenuation > _DIRECT_EXPOSURE), ink)
