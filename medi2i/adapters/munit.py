"""MUNIT: one image, many looks (Huang, Liu, Belongie, Kautz, ECCV 2018).

An image is a content, shared by the domains, and a style of its own domain. A translation decodes the content
with a style of the other domain: drawn, or encoded from a film.

Faithful by default: own encoders and decoder for each domain, three discriminators on a pyramid,
least-squares GAN summed over scales without one half, reconstruction of image (10), content (1), style (1),
Adam 1e-4 with weight decay 1e-4, discriminators before generators. The style-augmented cycle has the weight
that the authors use from synthetic to real images, 10. Options that are not in the paper are off by default
and say so.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.adapters.base import AdamConfig, Batch, Direction, DomainAdapter, Player, Shared, StyleKind
from medi2i.config import Config
from medi2i.image import Domain
from medi2i.losses import StructureLossConfig, StructureLosses, TranslationPair
from medi2i.losses.adversarial import least_squares
from medi2i.networks.augmentation import DiscriminatorAugmentationConfig, present
from medi2i.networks.munit import MUNITGeneratorConfig
from medi2i.networks.munit_discriminator import PyramidDiscriminatorConfig, shrink_valid
from medi2i.networks.munit_styles import sample_styles, styles_as_asked
from medi2i.networks.way import Way
from medi2i.similarity.weighting import masked_mean

ADAM = AdamConfig(learning_rate=1e-4, weight_decay=1e-4)


class SharedContentConfig(Config):
    """What MUNIT and UNIT can both be told."""

    generator: MUNITGeneratorConfig = MUNITGeneratorConfig()
    discriminator: PyramidDiscriminatorConfig = PyramidDiscriminatorConfig()
    optimizer: AdamConfig = ADAM
    discriminator_optimizer: AdamConfig = ADAM
    adversarial: float = Field(default=1.0, gt=0)
    image_reconstruction: float = Field(default=10.0, ge=0)
    augmentation: DiscriminatorAugmentationConfig | None = None
    structure_losses: tuple[StructureLossConfig, ...] = ()
    structure_losses_on: Literal["both", "source"] = "both"


class MUNITConfig(SharedContentConfig):
    """Everything MUNIT can be told; a weight of 0 turns a term off.

    Not in the paper: `structure_losses`, `augmentation`, the generator's `full_resolution_skip` and
    `residual_output`, the discriminator's `detail_gain` and `initialization`.
    """

    name: Literal["munit"] = "munit"
    content_reconstruction: float = Field(default=1.0, ge=0)
    style_reconstruction: float = Field(default=1.0, ge=0)
    cycle: float = Field(default=10.0, ge=0, description="style-augmented; 0 from photo to photo")

    def build(self, *, seed: int) -> MUNIT:
        """A MUNIT with weights drawn by `seed`."""
        return MUNIT(self, seed=seed)


class _Networks(NamedTuple):
    """One domain's."""

    content_encoder: nn.Module
    style_encoder: nn.Module
    decoder: nn.Module
    discriminator: nn.Module


class MUNIT(DomainAdapter):
    """Two encoders, a decoder and a discriminator for each domain; see the module for what is faithful."""

    averaged_networks = (
        "source_content_encoder",
        "source_style_encoder",
        "source_decoder",
        "target_content_encoder",
        "target_style_encoder",
        "target_decoder",
    )
    multimodal: ClassVar[bool] = True
    styles: ClassVar[tuple[StyleKind, ...]] = ("random", "mean", "reference", "interpolate")
    seed: Tensor

    def __init__(self, config: MUNITConfig, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.size_multiple = 4
        generator, judge = config.generator, config.discriminator
        self.source_content_encoder: nn.Module = generator.build_content_encoder(seed=seed)
        self.target_content_encoder: nn.Module = generator.build_content_encoder(seed=seed + 1)
        self.source_style_encoder: nn.Module = generator.build_style_encoder(seed=seed + 2)
        self.target_style_encoder: nn.Module = generator.build_style_encoder(seed=seed + 3)
        self.source_decoder: nn.Module = generator.build_decoder(seed=seed + 4)
        self.target_decoder: nn.Module = generator.build_decoder(seed=seed + 5)
        self.source_discriminator: nn.Module = judge.build(seed=seed + 6)
        self.target_discriminator: nn.Module = judge.build(seed=seed + 7)
        self.structure_losses = StructureLosses(config.structure_losses)
        # in the state, because a checkpoint is built with another seed before its state is loaded
        self.register_buffer("seed", torch.tensor(seed, dtype=torch.int64))
        judges = ("source_discriminator", "target_discriminator")
        self.players = (
            Player("discriminators", judges, config.discriminator_optimizer),
            Player("generators", self.averaged_networks, config.optimizer),
        )

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """The discriminators' or the generators' terms (eq. 1-5 of the paper), each with fresh styles."""
        styles = self._draw_styles(batch)
        if player.name == "discriminators":
            return self._discriminator_losses(batch, *styles)
        return self._generator_losses(batch, *styles)

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        """The images' content in styles of the other domain.

        Args:
            image: of the domain that the direction starts from.
            direction: which way.
            valid: where the image is image; decides, with its content, what `random` draws.
            style: an integer n: each image's own n-th draw, the same whenever seed and image are; None or
                "random": the 0-th; "mean": the mean of the distribution that styles are drawn from, the same
                for every image; a tensor (S,) or (B, S): codes. See `networks.munit_styles.styles_as_asked`.
            attributes: without effect.

        Raises:
            UsageError: `style` is none of these.
        """
        here, there = self._from_to(direction)
        codes = styles_as_asked(
            style,
            image,
            valid,
            size=self.config.generator.style_size,
            key=f"{int(self.seed)} {direction}",
        )
        translated: Tensor = there.decoder(here.content_encoder(image), codes)
        return translated

    def way(self, direction: Direction) -> Way:
        here, there = self._from_to(direction)
        size = self.config.generator.style_size
        return Way(here.content_encoder, there.decoder, code="style", code_size=size)

    def translate_in_styles(
        self, image: Float[Tensor, "1 1 H W"], styles: Float[Tensor, "N S"], *, direction: Direction
    ) -> Float[Tensor, "N 1 H W"]:
        """One image in each of the styles; its content is encoded once."""
        here, there = self._from_to(direction)
        content = here.content_encoder(image)
        looks = [there.decoder(content, style[None].to(image)) for style in styles]
        return torch.cat(looks) if looks else image[:0]

    def sample_styles(self, count: int, generator: torch.Generator) -> Float[Tensor, "N S"]:
        """Codes from N(0, 1), on the generator's device."""
        return sample_styles(count, self.config.generator.style_size, generator)

    def encode_style(
        self,
        image: Float[Tensor, "B 1 H W"],
        domain: Domain,
        valid: Float[Tensor, "B 1 H W"] | None = None,
    ) -> Float[Tensor, "B S"]:
        """Style codes of reference images of a domain; their mean is the style of several."""
        encoder = self._networks(domain).style_encoder
        style: Tensor = encoder(image, valid)
        return style

    def reconstruct(self, image: Tensor, translated: Tensor, direction: Direction) -> Tensor:
        """The way back in the image's own style: the style-augmented cycle."""
        here, there = self._from_to(direction)
        again: Tensor = here.decoder(there.content_encoder(translated), here.style_encoder(image, None))
        return again

    def _networks(self, domain: Domain) -> _Networks:
        if domain == "source":
            return _Networks(
                self.source_content_encoder,
                self.source_style_encoder,
                self.source_decoder,
                self.source_discriminator,
            )
        return _Networks(
            self.target_content_encoder,
            self.target_style_encoder,
            self.target_decoder,
            self.target_discriminator,
        )

    def _from_to(self, direction: Direction) -> tuple[_Networks, _Networks]:
        source, target = self._networks("source"), self._networks("target")
        return (source, target) if direction == "source-to-target" else (target, source)

    def _draw_styles(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A source style and a target style for each pair of the batch."""
        styles = self.sample_styles(2 * batch.source.shape[0], batch.device)
        source, target = styles.to(batch.source).chunk(2)
        return source, target

    def _discriminator_losses(
        self, batch: Batch, source_style: Tensor, target_style: Tensor
    ) -> dict[str, Tensor]:
        source, target = self._networks("source"), self._networks("target")
        with torch.no_grad():
            translated = target.decoder(source.content_encoder(batch.source), target_style)
            back = source.decoder(target.content_encoder(batch.target), source_style)
        return pyramid_contest(
            {
                "target": (target.discriminator, batch.target, translated),
                "source": (source.discriminator, batch.source, back),
            },
            batch,
            self.config.augmentation,
            weight=self.config.adversarial,
        )

    def _generator_losses(
        self, batch: Batch, source_style: Tensor, target_style: Tensor
    ) -> dict[str, Tensor]:
        translated, forward = self._one_way("source", batch, target_style)
        back, backward = self._one_way("target", batch, source_style)
        pairs = {"source": TranslationPair(batch.source, translated, batch.source_mask, batch.source_valid)}
        if self.config.structure_losses_on == "both":
            pairs["target"] = TranslationPair(batch.target, back, None, batch.target_valid)
        return forward | backward | self.structure_losses.terms(pairs, batch.step)

    def _one_way(self, domain: Domain, batch: Batch, drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Translation of one domain's images in `drawn` styles, and all terms that start from them."""
        config = self.config
        other: Domain = "target" if domain == "source" else "source"
        here, there = self._networks(domain), self._networks(other)
        image, valid = domain_images(batch, domain)
        content, own = here.content_encoder(image), here.style_encoder(image, valid)
        translated: Tensor = there.decoder(content, drawn)
        content_again = there.content_encoder(translated)
        losses = {
            f"adversarial_{other}": config.adversarial
            * judge_pyramid(
                there.discriminator,
                translated,
                batch.source_valid * batch.target_valid,
                batch,
                config.augmentation,
                real=True,
            )
        }
        if config.image_reconstruction:
            distance = (here.decoder(content, own) - image).abs()
            losses[f"image_{domain}"] = config.image_reconstruction * masked_mean(distance, valid)
        if config.content_reconstruction:
            distance = (content_again[0] - content[0]).abs()
            losses[f"content_{domain}"] = config.content_reconstruction * masked_mean(
                distance, shrink_valid(valid, distance)
            )
        if config.style_reconstruction:
            distance = (there.style_encoder(translated, valid) - drawn).abs()
            losses[f"style_{other}"] = config.style_reconstruction * distance.mean()
        if config.cycle:
            distance = (here.decoder(content_again, own) - image).abs()
            losses[f"cycle_{domain}"] = config.cycle * masked_mean(distance, valid)
        return translated, losses


def domain_images(batch: Batch, domain: Domain) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
    """One domain's images and their valid planes."""
    if domain == "source":
        return batch.source, batch.source_valid
    return batch.target, batch.target_valid


def judge_pyramid(
    discriminator: nn.Module,
    image: Float[Tensor, "B 1 H W"],
    valid: Float[Tensor, "B 1 H W"],
    batch: Batch,
    augmentation: DiscriminatorAugmentationConfig | None,
    *,
    real: bool,
) -> Float[Tensor, ""]:
    """Least-squares distance of the valid patches' logits from 'real' or 'translated', summed over scales."""
    image, valid = present(image, valid, augmentation, batch.device)
    logits: list[Tensor] = discriminator(image)
    terms = [least_squares(one, target_is_real=real, weight=shrink_valid(valid, one)) for one in logits]
    return torch.stack(terms).sum()


def pyramid_contest(
    sides: dict[str, tuple[nn.Module, Tensor, Tensor]],
    batch: Batch,
    augmentation: DiscriminatorAugmentationConfig | None,
    *,
    weight: float,
) -> dict[str, Tensor]:
    """Every discriminator's loss on `(discriminator, real, translated)`, without one half.

    Real and translated images are judged over the same area: the shape of an edge then says nothing of the
    domain.
    """
    joint = batch.source_valid * batch.target_valid
    return {
        name: weight
        * (
            judge_pyramid(discriminator, translated.detach(), joint, batch, augmentation, real=False)
            + judge_pyramid(discriminator, real, joint, batch, augmentation, real=True)
        )
        for name, (discriminator, real, translated) in sides.items()
    }
