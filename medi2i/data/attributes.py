"""Acquisition attributes as a code: what conditional methods are told about an image."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from medi2i.config import Config
from medi2i.image import Domain

DOMAIN_VALUES: tuple[Domain, Domain] = ("source", "target")
UNKNOWN = -1.0

GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
Value = Annotated[str, Field(min_length=1, max_length=40)]
Values = Annotated[tuple[Value, ...], Field(min_length=2, max_length=8)]
Groups = dict[GroupName, Values | Literal["auto"]]


class AttributesConfig(Config):
    """What is told beside the domain, and which combinations exist.

    The code has the domain's two bits first, then one bit for each value of each group, in order. In a group
    whose value is known one bit is 1 and the others are 0; in a group whose value is unknown all are -1.

    Attributes:
        groups: name to its values (2 to 8, all different), or `auto`: the values that the training images
            have, filled in before the training. Until then such a group has no bits.
        sensible: the combinations (one value for each of `names`) that occur in training images, filled in
            before the training; empty: every combination. None stands for a group that no image of the
            domain knows, such as the vendor of computed images.
    """

    groups: Groups = Field(default={}, max_length=8)
    sensible: tuple[tuple[str | None, ...], ...] = ()

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, groups: Groups) -> Groups:
        if "domain" in groups:
            raise ValueError("'domain' is always told; give other attributes")
        for name, values in groups.items():
            if values != "auto" and len(set(values)) < len(values):
                raise ValueError(f"{name}: a value named twice")
        return groups

    @model_validator(mode="after")
    def _check_sensible(self) -> AttributesConfig:
        known = list(self._values().values())
        for row in self.sensible:
            fits = len(row) == len(known) and row[0] is not None
            if not fits or any(v is not None and v not in known[i] for i, v in enumerate(row)):
                raise ValueError(f"sensible: {list(row)} has no value each of {', '.join(self.names)}")
        if len(set(self.sensible)) < len(self.sensible):
            raise ValueError("sensible: a combination named twice")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """`domain`, then the groups, in the order of their bits."""
        return ("domain", *self.groups)

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Groups whose values are still to be found in the images."""
        return tuple(name for name, values in self.groups.items() if values == "auto")

    @property
    def size(self) -> int:
        """C: bits of a code."""
        return sum(len(values) for values in self._values().values())

    @property
    def slices(self) -> dict[str, slice]:
        """Where each group's bits lie in a code."""
        found, start = {}, 0
        for name, values in self._values().items():
            found[name] = slice(start, start + len(values))
            start += len(values)
        return found

    def values(self, name: str) -> tuple[str, ...]:
        """Values of a group in the order of its bits; none while it is `auto`."""
        return self._values()[name]

    def encode(self, values: Mapping[str, str | None]) -> Float[Tensor, " C"]:
        """Code of an image: an absent name, None, and a value that its group lacks are unknown."""
        code = torch.full((self.size,), UNKNOWN)
        for name, place in self.slices.items():
            possible, value = self.values(name), values.get(name)
            if value in possible:
                code[place] = 0.0
                code[place.start + possible.index(value)] = 1.0
        return code

    def describe(self, code: Float[Tensor, " C"]) -> dict[str, str | None]:
        """The value of each group of a code, None where it is unknown; the inverse of `encode`.

        Soft bits (probabilities) give the likeliest value.
        """
        found: dict[str, str | None] = {}
        for name, place in self.slices.items():
            bits = code[place]
            unknown = bits.numel() == 0 or bool((bits < 0).any())
            found[name] = None if unknown else self.values(name)[int(bits.argmax())]
        return found

    def class_rows(self) -> tuple[tuple[str | None, ...], ...]:
        """Values of each class: the sensible combinations, or all of them where none are listed."""
        if self.sensible:
            return self.sensible
        return tuple(product(*(values for values in self._values().values() if values)))

    def classes(self) -> Float[Tensor, "N C"]:
        """Code of each class, in the order of `class_rows`."""
        names = self.names if self.sensible else [name for name, values in self._values().items() if values]
        return torch.stack([self.encode(dict(zip(names, row, strict=True))) for row in self.class_rows()])

    def _values(self) -> dict[str, tuple[str, ...]]:
        told = {name: () if values == "auto" else values for name, values in self.groups.items()}
        return {"domain": DOMAIN_VALUES, **told}
