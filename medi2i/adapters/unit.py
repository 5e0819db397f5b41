"""UNIT: one latent space for both domains (Liu, Breuel, Kautz, NeurIPS 2017), on MUNIT's parts.

As MUNIT's authors run it for comparison: a content encoder and a decoder for each domain (instance norm, no
style), unit-variance noise added to the latent code, reconstruction (10), cycle (10) and the codes' squared
mean (0.01 each), three discriminators on a pyramid, Adam 1e-4 with weight decay 1e-4, discriminators before
generators. No weights are shared, where the paper shares the layers next to the latent space: cycle and
latent terms alone hold the two spaces together. Translation adds no noise.
Options that are not in the paper are off by default and say so.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.adapters.base import Batch, Direction, DomainAdapter, Player, Shared
from medi2i.adapters.munit import SharedContentConfig, domain_images, judge_pyramid, pyramid_contest
from medi2i.image import Domain
from medi2i.losses import StructureLosses, TranslationPair
from medi2i.networks.munit import Content
from medi2i.networks.munit_discriminator import shrink_valid
from medi2i.networks.way import Way
from medi2i.similarity.weighting import masked_mean


class UNITConfig(SharedContentConfig):
    """Everything UNIT can be told; a weight of 0 turns a term off.

    `generator.style_size` and `generator.mlp_width` are without effect. Not in the paper: `structure_losses`,
    `augmentation`, the generator's `full_resolution_skip` and `residual_output`, the discriminator's
    `detail_gain` and `initialization`.
    """

    name: Literal["unit"] = "unit"
    latent: float = Field(default=0.01, ge=0, description="of the codes of images")
    cycle: float = Field(default=10.0, ge=0)
    cycle_latent: float = Field(default=0.01, ge=0, description="of the codes of translations")

    def build(self, *, seed: int) -> UNIT:
        """A UNIT with weights drawn by `seed`."""
        return UNIT(self, seed=seed)


class _Networks(NamedTuple):
    """One domain's."""

    encoder: nn.Module
    decoder: nn.Module
    discriminator: nn.Module


class UNIT(DomainAdapter):
    """An encoder, a decoder and a discriminator for each domain; see the module for what is faithful."""

    averaged_networks = ("source_encoder", "source_decoder", "target_encoder", "target_decoder")

    def __init__(self, config: UNITConfig, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.size_multiple = 4
        generator, judge = config.generator, config.discriminator
        self.source_encoder: nn.Module = generator.build_content_encoder(seed=seed)
        self.target_encoder: nn.Module = generator.build_content_encoder(seed=seed + 1)
        self.source_decoder: nn.Module = generator.build_decoder(seed=seed + 2, norm="instance")
        self.target_decoder: nn.Module = generator.build_decoder(seed=seed + 3, norm="instance")
        self.source_discriminator: nn.Module = judge.build(seed=seed + 4)
        self.target_discriminator: nn.Module = judge.build(seed=seed + 5)
        self.structure_losses = StructureLosses(config.structure_losses)
        judges = ("source_discriminator", "target_discriminator")
        self.players = (
            Player("discriminators", judges, config.discriminator_optimizer),
            Player("generators", self.averaged_networks, config.optimizer),
        )

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """The discriminators' or the generators' terms of the paper, each with fresh noise."""
        if player.name == "discriminators":
            return self._discriminator_losses(batch)
        return self._generator_losses(batch)

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        here, there = self._from_to(direction)
        translated: Tensor = there.decoder(here.encoder(image))
        return translated

    def way(self, direction: Direction) -> Way:
        here, there = self._from_to(direction)
        return Way(here.encoder, there.decoder)

    def _from_to(self, direction: Direction) -> tuple[_Networks, _Networks]:
        source, target = self._networks("source"), self._networks("target")
        return (source, target) if direction == "source-to-target" else (target, source)

    def _networks(self, domain: Domain) -> _Networks:
        if domain == "source":
            return _Networks(self.source_encoder, self.source_decoder, self.source_discriminator)
        return _Networks(self.target_encoder, self.target_decoder, self.target_discriminator)

    def _discriminator_losses(self, batch: Batch) -> dict[str, Tensor]:
        source, target = self._networks("source"), self._networks("target")
        with torch.no_grad():
            translated = target.decoder(noisy(source.encoder(batch.source), batch.device))
            back = source.decoder(noisy(target.encoder(batch.target), batch.device))
        return pyramid_contest(
            {
                "target": (target.discriminator, batch.target, translated),
                "source": (source.discriminator, batch.source, back),
            },
            batch,
            self.config.augmentation,
            weight=self.config.adversarial,
        )

    def _generator_losses(self, batch: Batch) -> dict[str, Tensor]:
        translated, forward = self._one_way("source", batch)
        back, backward = self._one_way("target", batch)
        pairs = {"source": TranslationPair(batch.source, translated, batch.source_mask, batch.source_valid)}
        if self.config.structure_losses_on == "both":
            pairs["target"] = TranslationPair(batch.target, back, None, batch.target_valid)
        return forward | backward | self.structure_losses.terms(pairs, batch.step)

    def _one_way(self, domain: Domain, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Translation of one domain's images, and all terms that start from them."""
        config = self.config
        other: Domain = "target" if domain == "source" else "source"
        here, there = self._networks(domain), self._networks(other)
        image, valid = domain_images(batch, domain)
        code: Content = here.encoder(image)
        varied = noisy(code, batch.device)  # one draw for both decoders
        translated: Tensor = there.decoder(varied)
        code_again: Content = there.encoder(translated)
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
            distance = (here.decoder(varied) - image).abs()
            losses[f"image_{domain}"] = config.image_reconstruction * masked_mean(distance, valid)
        if config.latent:
            losses[f"latent_{domain}"] = config.latent * _power(code, valid)
        if config.cycle:
            distance = (here.decoder(noisy(code_again, batch.device)) - image).abs()
            losses[f"cycle_{domain}"] = config.cycle * masked_mean(distance, valid)
        if config.cycle_latent:
            losses[f"cycle_latent_{domain}"] = config.cycle_latent * _power(code_again, valid)
        return translated, losses


def noisy(code: Content, generator: torch.Generator) -> Content:
    """The latent code plus N(0, 1); a full-resolution skip passes as it is."""
    noise = torch.randn(code[0].shape, generator=generator, device=generator.device)
    return (code[0] + noise.to(code[0]), *code[1:])


def _power(code: Content, valid: Float[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """Mean square: the divergence from N(0, 1) of a posterior of unit variance, times 2."""
    return masked_mean(code[0] ** 2, shrink_valid(valid, code[0]))
