"""What translates one way, of tensors only: what other tools can be given."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

CodeKind = Literal["style", "attributes"]


class Way(nn.Module):
    """Networks one after the other: `forward(image)`, or `forward(image, code)` where there is a code.

    No hashing, no random numbers and no check of values, so that the whole of it can be traced. Rows and
    columns of the images are multiples of the method's `size_multiple`.

    Attributes:
        code: what the second input says; None without one.
        code_size: numbers in it.
    """

    def __init__(self, *networks: nn.Module, code: CodeKind | None = None, code_size: int = 0) -> None:
        super().__init__()
        self.first = nn.ModuleList(networks[:-1])
        self.last = networks[-1]
        self.code: CodeKind | None = code
        self.code_size = code_size

    def forward(
        self, image: Float[Tensor, "B 1 H W"], code: Float[Tensor, "B C"] | None = None
    ) -> Float[Tensor, "B 1 H W"]:
        """Translated images; the last network is told the code.

        Args:
            image: in [-1, 1].
            code: one an image.
        """
        features = image
        for network in self.first:
            features = network(features)
        translated: Tensor = self.last(features) if self.code is None else self.last(features, code)
        return translated
