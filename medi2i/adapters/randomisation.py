"""Appearance randomisation by film physics: every image a film of another tube, detector and display.

It learns nothing and looks at no target image: the rival that a learnt translation has to beat (domain
randomisation: Gao et al., SyntheX, Nature Machine Intelligence 2023). Geometry is untouched, so masks stay
right.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from medi2i.adapters.base import Direction, DomainAdapter, StyleKind
from medi2i.config import Config
from medi2i.drr.film import FilmDistribution, render_film, split_materials
from medi2i.drr.film.distribution import LogRange, Range
from medi2i.drr.film.smoothing import fill
from medi2i.errors import UsageError

_STANDS_OUT_MM = 12.0  # what is narrower than some ribs' distance can be bone

WIDE = FilmDistribution(
    kvp=(60.0, 125.0),
    filtration_mm_al=(2.5, 8.0),
    heel_fall=(0.0, 0.2),
    scatter_fraction=(0.2, 0.75),
    grid_probability=0.6,
    focal_spot_mm=(0.3, 2.0),
    mtf50_per_mm=(0.3, 3.0),
    detector_air_kerma_ugy=(1.0, 8.0),
    electronic_noise_ugy=(0.001, 0.02),
    latitude_compression=(0.1, 0.85),
    detail_gain=(0.6, 1.8),
    lower_percentile=(0.0, 4.0),
    upper_percentile=(97.0, 100.0),
    reserve=(0.05, 0.18),
    middle=(0.42, 0.7),
    curves=("balanced", "soft", "hard", "screen_film", "bright_lung", "linear"),
    brightness=(-0.08, 0.08),
    contrast=(0.7, 1.25),
    bits_stored=(10, 12, 14),
)


class AppearanceDistribution(Config):
    """How an image in [-1, 1] becomes films.

    Attributes:
        film: what varies from film to film. Markers and collimators are possible, and off here: they would
            hide what the masks show.
        full_scale: line integral that 1 stands for (-1 is 0); a log range, because nobody knows it exactly.
        bone_share: range of the share that is taken as bone of what stands out of its surroundings.
        shorter_side_mm: the image's shorter side at the detector, which gives blur and scatter their scale.
        magnification: source-to-detector over source-to-patient.
    """

    film: FilmDistribution = WIDE
    full_scale: LogRange = (5.0, 8.0)
    bone_share: Range = (0.0, 1.0)
    shorter_side_mm: float = Field(default=400.0, gt=0)
    magnification: float = Field(default=1.15, ge=1)


class RandomisationConfig(Config):
    """Films of random settings, one an image."""

    name: Literal["randomisation"] = "randomisation"
    distribution: AppearanceDistribution = AppearanceDistribution()

    def build(self, *, seed: int) -> Randomisation:
        """The adapter; `seed` decides, with each image's content, which film it becomes."""
        return Randomisation(self, seed)


class Randomisation(DomainAdapter):
    """One random film per image, always the same one for the same seed, style and image.

    Drawn and computed on the CPU, so that every device gives the same film.
    """

    bidirectional: ClassVar[bool] = False
    multimodal: ClassVar[bool] = True
    styles: ClassVar[tuple[StyleKind, ...]] = ("random",)
    seed: Tensor

    def __init__(self, config: RandomisationConfig, seed: int) -> None:
        super().__init__()
        self.distribution = config.distribution
        # in the state, because a checkpoint is built with another seed before its state is loaded
        self.register_buffer("seed", torch.tensor(seed, dtype=torch.int64))

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        """A film of each image; `style`, an integer, chooses another film of the same image, None is 0.

        Raises:
            UsageError: the direction is target to source, or `style` is no integer.
        """
        if direction != "source-to-target":
            raise UsageError(
                f"--direction {direction}",
                found="method 'randomisation'",
                expected="source-to-target: a film can't be turned back into a line integral",
                remedy="use a method that goes both ways",
            )
        if isinstance(style, bool) or not (style is None or isinstance(style, int)):
            raise UsageError(
                "style",
                found=type(style).__name__,
                expected="an integer that chooses the film, or none",
                remedy="give a number, e.g. 0, 1, 2 for three films of each image",
            )
        valid = torch.ones_like(image) if valid is None else valid
        films = []
        for one, mask in zip(image.float().cpu(), valid.cpu(), strict=True):
            generator = torch.Generator().manual_seed(_seed_of(one, mask, int(self.seed), style or None))
            films.append(randomise_appearance(one[None], self.distribution, generator, mask[None]))
        return torch.cat(films).to(image) if films else image.clone()


def randomise_appearance(
    images: Float[Tensor, "B 1 H W"],
    distribution: AppearanceDistribution,
    generator: torch.Generator,
    valid: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, "B 1 H W"]:
    """Films in [-1, 1] of images in [-1, 1], each with settings of its own, on the images' device.

    Pixels outside `valid` stay as they are and count in nothing.

    Args:
        images: line integrals, -1 for none and 1 for the full scale; bone bright.
        distribution: what is drawn for each image.
        generator: of the images' device.
        valid: 1 where the image is image.
    """
    spacing_mm = distribution.shorter_side_mm / min(images.shape[-2:])
    known = torch.ones_like(images, dtype=torch.bool) if valid is None else valid > 0.5
    films = [
        _randomise(image, mask, distribution, generator, spacing_mm)
        for image, mask in zip(images, known, strict=True)
    ]
    return torch.stack(films) if films else images.clone()


def _randomise(
    image: Float[Tensor, "1 H W"],
    known: Bool[Tensor, "1 H W"],
    distribution: AppearanceDistribution,
    generator: torch.Generator,
    spacing_mm: float,
) -> Float[Tensor, "1 H W"]:
    config = distribution.film.sample(generator)
    scale, share = torch.rand(2, generator=generator, device=generator.device, dtype=torch.float64).tolist()
    least, most = distribution.full_scale
    line_integral = (image.float().clamp(-1, 1) + 1) / 2 * least * (most / least) ** scale
    everywhere = bool(known.all())
    sigma_px = _STANDS_OUT_MM / spacing_mm
    least, most = distribution.bone_share
    paths = split_materials(
        line_integral if everywhere else fill(line_integral, known, sigma_px),
        bone_share=least + share * (most - least),
        line_integral_kev=config.line_integral_kev,
        sigma_px=sigma_px,
    )
    film = render_film(
        paths,
        config,
        spacing_mm=(spacing_mm, spacing_mm),
        magnification=distribution.magnification,
        generator=generator,
        valid=None if everywhere else known,
    )
    return torch.where(known, (2 * film.brightness() - 1).to(image), image)


def _seed_of(
    image: Float[Tensor, "1 H W"], valid: Float[Tensor, "1 H W"], seed: int, style: int | None
) -> int:
    """A seed made of what the image shows where it is valid, rounded to 16 bits, and of seed and style."""
    shown = torch.where(valid > 0.5, image, torch.full_like(image, -1.0)).clamp(-1, 1)
    digest = hashlib.sha256((shown * 32767).round().to(torch.int16).numpy().tobytes())
    digest.update(f"{tuple(image.shape)} {seed} {style}".encode())
    return int.from_bytes(digest.digest()[:7], "big")
