"""History of translated images for a discriminator (Shrivastava et al. 2017; Zhu et al. 2017, §4)."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Keeps up to `capacity` images; the discriminator sees an old one half of the time.

    Until full, a new image is stored and returned. Afterwards, with probability one half, a random stored
    image is returned and replaced by the new one; else the new one is returned and not stored.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._images: list[Tensor] = []

    def exchange(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) for the discriminator; decisions come from the host `generator`."""
        if self.capacity == 0:
            return images
        return torch.stack([self._exchange_one(image.detach(), generator) for image in images])

    def _exchange_one(self, image: Tensor, generator: torch.Generator) -> Tensor:
        if len(self._images) < self.capacity:
            self._images.append(image.clone())
            return image
        if torch.rand((), generator=generator) < 0.5:
            return image
        index = int(torch.randint(self.capacity, (), generator=generator))
        stored = self._images[index]
        self._images[index] = image.clone()
        return stored

    def state(self) -> Tensor:
        """(n, C, H, W) of the stored images, n = 0 when empty."""
        return torch.stack(self._images) if self._images else torch.empty(0)

    def load(self, state: Tensor) -> None:
        """Inverse of `state`."""
        self._images = list(state.unbind(0)) if state.numel() else []
