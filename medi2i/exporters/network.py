"""The networks of a method that translate one way, as modules for other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from pydantic import TypeAdapter
from torch import Tensor, nn

from medi2i.adapters import AdapterConfig, Direction, DomainAdapter
from medi2i.networks.way import Way

_SHORTEST_SIDE = 16


class TranslationNetwork(nn.Module):
    """A method without what only training needs, for one direction: `network_def` of a MONAI bundle.

    Args:
        adapter: the method's settings, as in `config.yaml`.
        direction: which way.
    """

    def __init__(self, adapter: Mapping[str, Any], direction: Direction) -> None:
        super().__init__()
        config: Any = TypeAdapter(AdapterConfig).validate_python(dict(adapter))
        self.adapter: DomainAdapter = config.build(seed=0)
        self.direction: Direction = direction
        _keep_way(self.adapter, direction)

    def forward(
        self,
        image: Float[Tensor, "B 1 H W"],
        valid: Float[Tensor, "B 1 H W"] | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Float[Tensor, "B 1 H W"]:
        """Translated images; sides are multiples of the method's `size_multiple`.

        Args:
            image: in [-1, 1], bone bright.
            valid: 1 where it is image.
            style: of a method with styles, what `DomainAdapter.translate` takes, or a code as a list.
            attributes: of a method that knows them, names and values, or a code.

        Raises:
            UsageError: the method has no such style or attributes.
        """
        if isinstance(style, Sequence) and not isinstance(style, str):
            style = torch.tensor(style, dtype=torch.float32)
        if isinstance(attributes, Mapping):
            attributes = self.adapter.read_attributes(attributes, self.direction)
        translated: Tensor = self.adapter.translate(
            image, direction=self.direction, valid=valid, style=style, attributes=attributes
        )
        return translated


def _keep_way(adapter: DomainAdapter, direction: Direction) -> None:
    """Take out every network that this direction does without."""
    way = adapter.way(direction)
    used = set() if way is None else {id(module) for module in way.modules()}
    for name, child in list(adapter.named_children()):
        kept = name in adapter.averaged_networks if way is None else id(child) in used
        if not kept:
            setattr(adapter, name, None)  # still an attribute: methods name all of theirs in one place


class AnySize(nn.Module):
    """A way for images of any size: the last row and column are repeated up to the multiple, then cut off.

    By indices, because a trace can't know how many rows padding adds, or that a crop lies within.
    """

    def __init__(self, way: Way, multiple: int) -> None:
        super().__init__()
        self.way = way
        self.multiple = multiple

    def forward(
        self, image: Float[Tensor, "B 1 H W"], code: Float[Tensor, "B C"] | None = None
    ) -> Float[Tensor, "B 1 H W"]:
        height, width = image.shape[-2:]
        padded = image.index_select(2, self._places(height, image)).index_select(
            3, self._places(width, image)
        )
        translated: Tensor = self.way(padded, code)
        rows = torch.arange(height, device=image.device)
        columns = torch.arange(width, device=image.device)
        return translated.index_select(2, rows).index_select(3, columns)

    @property
    def shortest_side(self) -> int:
        """Of an image that it takes: reflected borders need some pixels, and U-Nets more than their multiple.

        At their multiple their innermost map is a single pixel, which has no spread to be normalised by:
        another graph than that of larger images.
        """
        return _SHORTEST_SIDE if self.multiple <= _SHORTEST_SIDE else self.multiple + 1

    def _places(self, side: int, like: Tensor) -> Tensor:
        padded = (side + self.multiple - 1) // self.multiple * self.multiple
        return torch.arange(padded, device=like.device).clamp(max=side - 1)
