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

    Raises:
        UsageError: a name or value that the attributes lack, or no class of the domain has them together: the
            network was never told to make such an image.
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
    if not fitting:
        raise UsageError(
            f"--attribute {_assignments(values)}",
            found=f"a class that no training image of the {domain} domain has",
            expected=" or ".join(_assignments(row) for row in rows),
            remedy="ask for one of these, or for less",
        )
    return attributes.encode(fitting[0])


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


def _assignments(row: Mapping[str, str | None]) -> str:
    """The known values of a class, as they are asked for; the domain is the direction's."""
    told = [f"{name}={value}" for name, value in row.items() if name != "domain" and value is not None]
    return ", ".join(told) or "no attribute"


def _unknown_word(what: str, word: str, known: tuple[str, ...]) -> UsageError:
    near = difflib.get_close_matches(word, known, n=1)
    return UsageError(
        what,
        found=f"'{word}'",
        expected=", ".join(known) if known else "no attributes: the method was trained with the domain only",
        remedy=f"did you mean '{near[0]}'?" if near else "choose one of these" if known else "leave it out",
    )
