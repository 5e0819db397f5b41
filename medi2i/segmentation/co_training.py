"""A segmenter that goes on learning beside a translation, for losses that ask it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medi2i.adapters import Batch, DomainAdapter, Player, Shared
from medi2i.segmentation.appearance import vary_appearance
from medi2i.segmentation.network import segmenter_losses, thin_planes
from medi2i.segmentation.settings import SegmenterConfig

_NETWORK = "co_trained_segmenter"


def co_train(
    adapter: DomainAdapter, network: nn.Module, config: SegmenterConfig, structures: tuple[str, ...]
) -> None:
    """Make a segmenter a player of an adapter's training, whatever the method is.

    Its turn comes after the method's: it learns from the batch's images and from their translations by the
    networks as they then are, both against the images' masks. No gradient reaches the method.

    Args:
        adapter: gets the network as its companion; no checkpoint that is shared holds it.
        network: images (B, 1, H, W) to logits (B, K, H, W).
        config: its losses, looks and optimiser.
        structures: names of the K planes.
    """
    thin = thin_planes(config, structures)

    def losses(player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        segmenter: nn.Module = getattr(adapter, _NETWORK)  # the engine may have wrapped it
        with torch.no_grad():
            translated = adapter.translate(
                batch.source, direction="source-to-target", valid=batch.source_valid
            )
            image = batch.source
            if config.appearance is not None:
                image = vary_appearance(image, config.appearance, batch.device)
        terms: dict[str, Tensor] = {}
        for name, seen in (("source", image), ("translated", translated)):
            found = segmenter_losses(segmenter(seen), batch, config, thin)
            terms |= {f"{name}_{term}": 0.5 * value for term, value in found.items()}
        return terms

    adapter.add_companion(network, Player("segmenter", (_NETWORK,), config.optimizer, losses=losses))
