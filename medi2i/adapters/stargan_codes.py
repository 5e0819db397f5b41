"""What a user asks of StarGAN and MatchGAN, as codes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from medi2i.data.attributes import AttributesConfig
from medi2i.errors import UsageError
from medi2i.image import Domain


def choose_code(
    attributes: AttributesConfig, domain: Domain, values: Mapping[str, str]
) -> Float[Tensor, " C"]:
    """Code of the first (commonest) class of a domain that has these values.

    Where no class has them, it is that of the domain's first class with these values put in.

    Raises:
        UsageError: a name or value that the attributes lack.
    """
    names = attributes.names[1:]
    for name, value in values.items():
        if name not in names:
            raise _unknown_word("attribute", name, names)
        if value not in attributes.values(name):
            raise _unknown_word(name, value, attributes.values(name))
    rows = [attributes.describe(code) for code in attributes.classes()]
    rows = [row for row in rows if row["domain"] == domain] or [{"domain": domain}]
    fitting = [row for row in rows if all(row.get(name) == value for name, value in values.items())]
    return attributes.encode((fitting or rows)[0] | dict(values))


def spread_code(code: Any, image: Float[Tensor, "B 1 H W"], *, size: int) -> Float[Tensor, "B C"]:
    """A code for each image, on the images' device.

    Args:
        code: (C,), (1, C) or (B, C).
        image: the images.
        size: C.

    Raises:
        UsageError: `code` is none of these.
    """
    count = image.shape[0]
    if isinstance(code, Tensor) and code.shape in {(size,), (1, size), (count, size)}:
        return code.to(image).expand(count, size)
    raise UsageError(
        "attributes",
        found=f"shape {tuple(code.shape)}" if isinstance(code, Tensor) else type(code).__name__,
        expected=f"a code of shape ({size},) or ({count}, {size})",
        remedy="make it with read_attributes",
    )


def _unknown_word(what: str, word: str, known: tuple[str, ...]) -> UsageError:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
    return UsageError(
        what,
        found=f"'{word}'",
        expected=", ".join(known) if known else "no attributes: the method was trained with the domain only",
        remedy=f"did you mean '{near[0]}'?" if near else "leave it out",
    )
