"""CycleGAN: unpaired translation with cycle consistency (Zhu, Park, Isola, Efros, ICCV 2017).

Faithful by default: ResNet-9 generators, 70 x 70 PatchGANs, least-squares GAN on raw logits with one half on
the discriminators, L1 cycles of weight 10, identity of half of it (the authors' code; the paper has it for
paintings only), an image pool of 50, Adam 2e-4 with betas (0.5, 0.999), generators before discriminators.
Options that are not in the paper are off by default and say so.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medi2i.adapters.base import AdamConfig, Batch, Direction, DomainAdapter, Player, Shared
from medi2i.adapters.image_pool import ImagePool
from medi2i.adapters.judging import judge_patches
from medi2i.config import Config
from medi2i.losses import StructureLossConfig, StructureLosses, TranslationPair
from medi2i.losses.cycle import CycleKind, cycle_distance
from medi2i.networks.augmentation import DiscriminatorAugmentationConfig
from medi2i.networks.discriminator import PatchGANConfig
from medi2i.networks.resnet import ResNetGeneratorConfig
from medi2i.networks.way import Way
from medi2i.similarity.weighting import masked_mean


class CycleGANConfig(Config):
    """Everything CycleGAN can be told; a weight of 0 turns a term off.

    Not in the paper: `cycle_loss: l1_ssim`, `structure_losses`, `noise_guard` (sigma of the noise added to a
    translation before its way back, against images hidden in it: Chu et al. 2017), `augmentation`, and
    `generator.residual_output`.
    """

    name: Literal["cyclegan"] = "cyclegan"
    generator: ResNetGeneratorConfig = ResNetGeneratorConfig()
    discriminator: PatchGANConfig = PatchGANConfig()
    optimizer: AdamConfig = AdamConfig()
    discriminator_optimizer: AdamConfig = AdamConfig()
    adversarial_source_to_target: float = Field(default=1.0, ge=0)
    adversarial_target_to_source: float = Field(default=1.0, ge=0)
    cycle_source: float = Field(default=10.0, ge=0)
    cycle_target: float = Field(default=10.0, ge=0)
    cycle_loss: CycleKind = "l1"
    identity: float = Field(default=0.5, ge=0, description="fraction of the cycle weights")
    pool_size: int = Field(default=50, ge=0)
    noise_guard: float = Field(default=0.0, ge=0, le=1)
    augmentation: DiscriminatorAugmentationConfig | None = None
    structure_losses: tuple[StructureLossConfig, ...] = ()
    structure_losses_on: Literal["both", "source"] = "both"

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        adversarial = self.adversarial_source_to_target or self.adversarial_target_to_source
        if not (adversarial or self.cycle_source or self.cycle_target):
            raise ValueError(
                "both adversarial and both cycle weights are 0, so there is nothing to learn; "
                "give one of them a weight"
            )
        return self

    def build(self, *, seed: int) -> CycleGAN:
        """A CycleGAN with weights drawn by `seed`."""
        return CycleGAN(self, seed=seed)


class CycleGAN(DomainAdapter):
    """Two generators and two discriminators; see the module for what is faithful."""

    averaged_networks = ("source_to_target", "target_to_source")

    def __init__(self, config: CycleGANConfig, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.size_multiple = 4
        self.source_to_target: nn.Module = config.generator.build(seed=seed)
        self.target_to_source: nn.Module = config.generator.build(seed=seed + 1)
        self.target_discriminator: nn.Module = config.discriminator.build(seed=seed + 2)
        self.source_discriminator: nn.Module = config.discriminator.build(seed=seed + 3)
        self.structure_losses = StructureLosses(config.structure_losses)
        self._target_pool = ImagePool(config.pool_size)
        self._source_pool = ImagePool(config.pool_size)
        self.players = (Player("generators", ("source_to_target", "target_to_source"), config.optimizer),)
        judges = {
            "target_discriminator": config.adversarial_source_to_target,
            "source_discriminator": config.adversarial_target_to_source,
        }
        asked = tuple(name for name, weight in judges.items() if weight)
        if asked:  # cycles alone need no discriminator
            self.players += (Player("discriminators", asked, config.discriminator_optimizer),)

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """The generators' or the discriminators' terms (eq. 1-3 of the paper, least squares of §4)."""
        if player.name == "generators":
            return self._generator_losses(batch, shared)
        return self._discriminator_losses(batch, shared)

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        translated: Tensor = self._generator(direction)(image)
        return translated

    def way(self, direction: Direction) -> Way:
        return Way(self._generator(direction))

    def _generator(self, direction: Direction) -> nn.Module:
        return self.source_to_target if direction == "source-to-target" else self.target_to_source

    def _generator_losses(self, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        config = self.config
        losses: dict[str, Tensor] = {}
        identity_weights = (config.identity * config.cycle_target, config.identity * config.cycle_source)
        translated, identity_target = self._translate_and_keep(
            self.source_to_target, batch.source, batch.target if identity_weights[0] else None
        )
        back, identity_source = self._translate_and_keep(
            self.target_to_source, batch.target, batch.source if identity_weights[1] else None
        )
        # the same area for real and translated images: the shape of an edge then says nothing of the domain
        joint = batch.source_valid * batch.target_valid
        shared.values.update(translated=translated.detach(), back=back.detach(), joint=joint)
        if config.adversarial_source_to_target:
            losses["adversarial_target"] = config.adversarial_source_to_target * self._judge(
                self.target_discriminator, translated, joint, batch, real=True
            )
        if config.adversarial_target_to_source:
            losses["adversarial_source"] = config.adversarial_target_to_source * self._judge(
                self.source_discriminator, back, joint, batch, real=True
            )
        if config.cycle_source:
            reconstructed = self.target_to_source(self._guard(translated, batch))
            losses["cycle_source"] = config.cycle_source * cycle_distance(
                reconstructed, batch.source, config.cycle_loss, valid=batch.source_valid
            )
        if config.cycle_target:
            reconstructed = self.source_to_target(self._guard(back, batch))
            losses["cycle_target"] = config.cycle_target * cycle_distance(
                reconstructed, batch.target, config.cycle_loss, valid=batch.target_valid
            )
        if identity_target is not None:
            losses["identity_target"] = identity_weights[0] * masked_mean(
                (identity_target - batch.target).abs(), batch.target_valid
            )
        if identity_source is not None:
            losses["identity_source"] = identity_weights[1] * masked_mean(
                (identity_source - batch.source).abs(), batch.source_valid
            )
        losses |= self._structure_terms(batch, translated, back)
        return losses | self._further_terms(batch, shared, translated, back)

    @staticmethod
    def _translate_and_keep(
        generator: nn.Module, translate: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Translation of one domain and identity of the other in one call (instance norm is per image)."""
        if keep is None:
            return generator(translate), None
        translated, identity = generator(torch.cat([translate, keep])).split(translate.shape[0])
        return translated, identity

    def _guard(self, image: Tensor, batch: Batch) -> Tensor:
        if not self.config.noise_guard:
            return image
        noise = torch.empty_like(image).normal_(generator=batch.device)
        return image + self.config.noise_guard * noise

    def _structure_terms(self, batch: Batch, translated: Tensor, back: Tensor) -> dict[str, Tensor]:
        forward = TranslationPair(batch.source, translated, batch.source_mask, batch.source_valid)
        pairs = {"source": forward}
        if self.config.structure_losses_on == "both":
            pairs["target"] = TranslationPair(batch.target, back, None, batch.target_valid)
        return self.structure_losses.terms(pairs, batch.step)

    def _further_terms(
        self, batch: Batch, shared: Shared, translated: Tensor, back: Tensor
    ) -> dict[str, Tensor]:
        """What a method built on this one adds to the generators' losses; nothing here."""
        return {}

    def _discriminator_losses(self, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        joint = shared.values["joint"]
        sides = (
            (
                "target",
                self.config.adversarial_source_to_target,
                self.target_discriminator,
                self._target_pool,
                batch.target,
                shared.values["translated"],
            ),
            (
                "source",
                self.config.adversarial_target_to_source,
                self.source_discriminator,
                self._source_pool,
                batch.source,
                shared.values["back"],
            ),
        )
        losses = {}
        for domain, weight, discriminator, pool, real, translated in sides:
            if not weight:
                continue
            pooled = pool.exchange(torch.cat([translated, joint.to(translated.dtype)], dim=1), batch.host)
            translated, translated_valid = pooled.split(1, dim=1)
            losses[domain] = 0.5 * (
                self._judge(discriminator, real, joint, batch, real=True)
                + self._judge(discriminator, translated, translated_valid, batch, real=False)
            )
        return losses

    def _judge(
        self, discriminator: nn.Module, image: Tensor, valid: Tensor, batch: Batch, *, real: bool
    ) -> Tensor:
        """Least-squares distance of the valid patches' logits from 'real' or 'translated'."""
        return judge_patches(discriminator, image, valid, batch, self.config.augmentation, real=real)

    def local_state(self) -> dict[str, Tensor]:
        """The two image pools."""
        return {"target_pool": self._target_pool.state(), "source_pool": self._source_pool.state()}

    def load_local_state(self, state: dict[str, Tensor]) -> None:
        device = next(self.parameters()).device
        self._target_pool.load(state["target_pool"].to(device))
        self._source_pool.load(state["source_pool"].to(device))
