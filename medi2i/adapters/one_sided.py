"""What methods with one generator and one discriminator share: they learn the way from source to target only.

Networks, least squares, image pool and valid area are CycleGAN's (Zhu et al., ICCV 2017), so that a
comparison with it compares what keeps the image, and nothing else.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.adapters.base import AdamConfig, Batch, Direction, DomainAdapter, Player, Shared
from medi2i.adapters.image_pool import ImagePool
from medi2i.adapters.judging import judge_patches
from medi2i.config import Config
from medi2i.errors import UsageError
from medi2i.losses import StructureLossConfig, StructureLosses, TranslationPair
from medi2i.networks.augmentation import DiscriminatorAugmentationConfig
from medi2i.networks.discriminator import PatchGANConfig
from medi2i.networks.resnet import ResNetGeneratorConfig
from medi2i.networks.way import Way


class OneSidedConfig(Config):
    """Common to one-sided methods; `augmentation` and `structure_losses` are in none of the papers."""

    name: str
    generator: ResNetGeneratorConfig = ResNetGeneratorConfig()
    discriminator: PatchGANConfig = PatchGANConfig()
    optimizer: AdamConfig = AdamConfig()
    discriminator_optimizer: AdamConfig = AdamConfig()
    adversarial: float = Field(default=1.0, gt=0)
    pool_size: int = Field(default=50, ge=0)
    augmentation: DiscriminatorAugmentationConfig | None = None
    structure_losses: tuple[StructureLossConfig, ...] = ()


class OneSided(DomainAdapter):
    """One generator against one discriminator; a method adds what it asks of the translation beside."""

    averaged_networks = ("generator",)
    bidirectional: ClassVar[bool] = False

    def __init__(self, config: OneSidedConfig, *, seed: int) -> None:
        super().__init__()
        self.settings = config
        self.size_multiple = 4
        self.generator: nn.Module = config.generator.build(seed=seed)
        self.discriminator: nn.Module = config.discriminator.build(seed=seed + 1)
        self.structure_losses = StructureLosses(config.structure_losses)
        self._pool = ImagePool(config.pool_size)
        self.players = (
            Player("generator", ("generator",), config.optimizer),
            Player("discriminator", ("discriminator",), config.discriminator_optimizer),
        )

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """The generator's or the discriminator's terms, by name."""
        if player.name == "generator":
            return self._generator_losses(batch, shared)
        return {"adversarial": self._discriminator_loss(batch, shared)}

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        """Source images in the look of the target.

        Raises:
            UsageError: the other direction, which is not learned.
        """
        require_forward(direction, self.settings.name)
        return self._paint(image)

    def way(self, direction: Direction) -> Way:
        """The generator.

        Raises:
            UsageError: the other direction, which is not learned.
        """
        require_forward(direction, self.settings.name)
        return Way(self.generator)

    def _paint(self, image: Tensor) -> Tensor:
        translated: Tensor = self.generator(image)
        return translated

    def _generator_losses(self, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        translated = self._paint(batch.source)
        # the same area for real and translated images: the shape of an edge then says nothing of the domain
        joint = batch.source_valid * batch.target_valid
        shared.values["translated"] = translated.detach()
        losses = {"adversarial": self.settings.adversarial * self._judge(translated, joint, batch, real=True)}
        losses |= self._keeping_terms(batch, translated)
        return losses | self._structure_terms(batch, translated)

    def _structure_terms(self, batch: Batch, translated: Tensor) -> dict[str, Tensor]:
        pair = TranslationPair(batch.source, translated, batch.source_mask, batch.source_valid)
        return self.structure_losses.terms({"source": pair}, batch.step)

    def _keeping_terms(self, batch: Batch, translated: Tensor) -> dict[str, Tensor]:
        """What the method asks of a translation besides looking real; nothing here."""
        return {}

    def _translation(self, batch: Batch, shared: Shared) -> Float[Tensor, "B 1 H W"]:
        """This batch's translation without gradient, as the generator's turn left it."""
        detached: Tensor = shared.values["translated"]
        return detached

    def _discriminator_loss(self, batch: Batch, shared: Shared) -> Tensor:
        joint = batch.source_valid * batch.target_valid
        translated = self._translation(batch, shared)
        pooled = self._pool.exchange(torch.cat([translated, joint.to(translated.dtype)], dim=1), batch.host)
        translated, translated_valid = pooled.split(1, dim=1)
        return 0.5 * (
            self._judge(batch.target, joint, batch, real=True)
            + self._judge(translated, translated_valid, batch, real=False)
        )

    def _judge(self, image: Tensor, valid: Tensor, batch: Batch, *, real: bool) -> Tensor:
        """Least-squares distance of the valid patches' logits from 'real' or 'translated'."""
        augmentation = self.settings.augmentation
        return judge_patches(self.discriminator, image, valid, batch, augmentation, real=real)

    def local_state(self) -> dict[str, Tensor]:
        """The image pool."""
        return {"pool": self._pool.state()}

    def load_local_state(self, state: dict[str, Tensor]) -> None:
        self._pool.load(state["pool"].to(next(self.parameters()).device))


def require_forward(direction: Direction, name: str) -> None:
    """Refuse the direction that a one-sided method never learned.

    Raises:
        UsageError: from target to source.
    """
    if direction != "source-to-target":
        raise UsageError(
            f"--direction {direction}",
            found=f"method '{name}'",
            expected="source-to-target: it learns one way only",
            remedy="use a method that goes both ways",
        )
