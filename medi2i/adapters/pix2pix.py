"""pix2pix: translation learned from exact pairs (Isola, Zhu, Zhou, Efros, "Image-to-image translation with
conditional adversarial networks", CVPR 2017).

The upper bound beside unpaired methods, where an image and its true translation exist: phantoms, registered
pairs. Faithful by default: U-Net of eight halvings, 70 x 70 PatchGAN that is shown source and image together,
L1 of weight 100, log loss with one half on the discriminator, discriminator before generator, dropout in
training. Of the paper's noise in translation, dropout, nothing is left: one image has one translation.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, assert_never

import torch
from pydantic import Field
from torch import Tensor, nn

from medi2i.adapters.base import AdamConfig, Batch, Direction, DomainAdapter, Player, Shared
from medi2i.adapters.one_sided import require_forward
from medi2i.config import Config
from medi2i.losses import StructureLossConfig, StructureLosses, TranslationPair
from medi2i.losses.adversarial import least_squares, log_likelihood
from medi2i.networks.augmentation import DiscriminatorAugmentationConfig, present
from medi2i.networks.discriminator import PatchGANConfig
from medi2i.networks.unet import UNetGeneratorConfig
from medi2i.networks.way import Way
from medi2i.similarity.weighting import masked_mean


class Pix2PixConfig(Config):
    """All settings; `augmentation`, `least_squares` and structure losses are not in the paper.

    Attributes:
        distance: weight of |G(a) - b|.
        adversarial: weight of the discriminator's judgement; 0 leaves L1 alone.
        objective: `log` is the paper's.
    """

    name: Literal["pix2pix"] = "pix2pix"
    generator: UNetGeneratorConfig = UNetGeneratorConfig()
    discriminator: PatchGANConfig = PatchGANConfig()
    optimizer: AdamConfig = AdamConfig()
    discriminator_optimizer: AdamConfig = AdamConfig()
    distance: float = Field(default=100.0, gt=0)
    adversarial: float = Field(default=1.0, ge=0)
    objective: Literal["log", "least_squares"] = "log"
    augmentation: DiscriminatorAugmentationConfig | None = None
    structure_losses: tuple[StructureLossConfig, ...] = ()

    def build(self, *, seed: int) -> Pix2Pix:
        """A pix2pix with weights drawn by `seed`."""
        return Pix2Pix(self, seed=seed)


class Pix2Pix(DomainAdapter):
    """A U-Net and a discriminator that knows the source."""

    averaged_networks = ("generator",)
    bidirectional: ClassVar[bool] = False
    needs_pairs: ClassVar[bool] = True

    def __init__(self, config: Pix2PixConfig, *, seed: int) -> None:
        super().__init__()
        self.config = config
        generator = config.generator.build(seed=seed)
        self.size_multiple = generator.size_multiple
        self.generator: nn.Module = generator
        self.discriminator: nn.Module = config.discriminator.build(seed=seed + 1, conditional=True)
        self.structure_losses = StructureLosses(config.structure_losses)
        self.players = (Player("generator", ("generator",), config.optimizer),)
        if config.adversarial:  # L1 alone needs no discriminator
            judge = Player("discriminator", ("discriminator",), config.discriminator_optimizer)
            self.players = (judge, *self.players)

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """The discriminator's or the generator's terms (eq. 1, 3, 4 of the paper); the batch holds pairs."""
        if "dropout" not in shared.values:
            # both turns leave out the same features, so that they see one translation
            shared.values["dropout"] = int(torch.randint(2**62, (), generator=batch.host))
        if player.name == "discriminator":
            return {"adversarial": self._discriminator_loss(batch, shared)}
        return self._generator_losses(batch, shared)

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        """Source images as the targets they would be paired with; deterministic.

        Raises:
            UsageError: the other direction, which is not learned.
        """
        require_forward(direction, self.config.name)
        translated: Tensor = self.generator(image)
        return translated

    def way(self, direction: Direction) -> Way:
        """The generator.

        Raises:
            UsageError: the other direction, which is not learned.
        """
        require_forward(direction, self.config.name)
        return Way(self.generator)

    def _generator_losses(self, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        config, joint = self.config, batch.source_valid * batch.target_valid
        translated = self._painted(batch, shared)
        losses = {"distance": config.distance * masked_mean((translated - batch.target).abs(), joint)}
        if config.adversarial:
            losses["adversarial"] = config.adversarial * self._judge(translated, joint, batch, real=True)
        pair = TranslationPair(batch.source, translated, batch.source_mask, batch.source_valid)
        return losses | self.structure_losses.terms({"source": pair}, batch.step)

    def _discriminator_loss(self, batch: Batch, shared: Shared) -> Tensor:
        joint = batch.source_valid * batch.target_valid
        with torch.no_grad():
            translated = self._painted(batch, shared)
        return 0.5 * (
            self._judge(batch.target, joint, batch, real=True)
            + self._judge(translated, joint, batch, real=False)
        )

    def _painted(self, batch: Batch, shared: Shared) -> Tensor:
        drawn = torch.Generator(device=batch.device.device).manual_seed(shared.values["dropout"])
        translated: Tensor = self.generator(batch.source, drawn)
        return translated

    def _judge(self, image: Tensor, valid: Tensor, batch: Batch, *, real: bool) -> Tensor:
        """Loss of the valid patches' logits that should say 'real' or 'translated', the source beside."""
        both = torch.cat([image, batch.source], dim=1)
        both, valid = present(both, valid, self.config.augmentation, batch.device)
        logits: Tensor = self.discriminator(*both.split(1, dim=1))
        weight = nn.functional.adaptive_avg_pool2d(valid, (logits.shape[-2], logits.shape[-1]))
        objective = self.config.objective
        if objective == "log":
            return log_likelihood(logits, target_is_real=real, weight=weight)
        if objective == "least_squares":
            return least_squares(logits, target_is_real=real, weight=weight)
        assert_never(objective)
