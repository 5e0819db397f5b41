"""The segmenter as the training loop sees it: one network, one player, named losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from medi2i.adapters import Batch, Player, Shared, Trainee
from medi2i.errors import ConfigError, UsageError
from medi2i.losses.segmentation import overlap_loss, thin_loss
from medi2i.segmentation.appearance import cover_outside, vary_appearance
from medi2i.segmentation.settings import SegmenterConfig


def build_network(config: SegmenterConfig, structures: int, *, seed: int) -> nn.Module:
    """MONAI's U-Net (Ronneberger et al., MICCAI 2015; strided, Kerfoot et al., STACOM 2018).

    Images (B, 1, H, W) in [-1, 1] to logits (B, structures, H, W); sides are multiples of
    `config.size_multiple`. Instance norm, which knows nothing of other images of a batch.

    Args:
        seed: draws the weights; global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = UNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=structures,
            channels=config.widths,
            strides=(2,) * (len(config.widths) - 1),
            num_res_units=config.residual_units,
        )
    return network


class SegmenterTraining(Trainee):
    """A segmenter that learns from images and their masks."""

    averaged_networks = ("network",)

    def __init__(self, config: SegmenterConfig, structures: Sequence[str], *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.thin = thin_planes(config, structures)
        self.network: nn.Module = build_network(config, len(structures), seed=seed)
        self.players = (Player("segmenter", ("network",), config.optimizer),)

    @property
    def adapted(self) -> bool:
        """Whether everything that is to be learned from has had its whole weight."""
        return True

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """Overlap, and thinness where there are thin structures, of crops in a random look."""
        config, image = self.config, batch.source
        if config.appearance is not None:
            image = vary_appearance(image, config.appearance, batch.device)
        if config.outside == "background":
            image = cover_outside(image, batch.source_valid, batch.device)
            batch = replace(batch, source_valid=torch.ones_like(batch.source_valid))
        return segmenter_losses(self.network(image), batch, config, self.thin)


def segmenter_losses(
    logits: Tensor, batch: Batch, config: SegmenterConfig, thin: dict[int, int]
) -> dict[str, Tensor]:
    """Weighted terms of an answer (B, K, H, W) against a batch's masks, over its valid pixels.

    Raises:
        UsageError: the batch has no masks.
    """
    if batch.source_mask is None:
        raise UsageError(
            "the segmenter",
            found="images without masks",
            expected="one mask a structure for every image",
            remedy="add masks to the data set, see docs/dataset-folder.md",
        )
    masks, weight = batch.source_mask, batch.source_valid
    losses = {"overlap": overlap_loss(logits, masks, weight, dice_share=config.dice_share)}
    if thin and config.thin_weight:
        losses["thin"] = config.thin_weight * thin_loss(logits, masks, thin, weight)
    return losses


def thin_planes(config: SegmenterConfig, structures: Sequence[str]) -> dict[int, int]:
    """Planes of the thin structures and half their widths in pixels.

    Raises:
        ConfigError: one is no structure of the masks.
    """
    unknown = [name for name in config.thin if name not in structures]
    if unknown:
        raise ConfigError(
            "thin",
            found=f"'{unknown[0]}'",
            expected=f"structures of the masks: {', '.join(structures)}",
            remedy="mend the name",
        )
    return {structures.index(name): half_width for name, half_width in config.thin.items()}
