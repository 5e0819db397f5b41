"""Which values and which combinations of acquisition attributes the training images have."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medi2i.data.attributes import DOMAIN_VALUES, AttributesConfig
from medi2i.data.manifest import ManifestRow
from medi2i.errors import NothingUsableError
from medi2i.image import Domain
from medi2i.io.acquisition import EXPOSURE_SCALES

EXPOSURE = "exposure"
EXPOSURE_VALUES = ("low", "middle", "high")

_MOST_VALUES = 6
Rows = Mapping[Domain, Sequence[ManifestRow]]
Combination = tuple[str | None, ...]


def wanted_attributes(config: AttributesConfig) -> tuple[str, ...]:
    """What has to be read of each image for these groups."""
    return (*config.groups, *(EXPOSURE_SCALES if EXPOSURE in config.groups else ()))


def bin_exposure(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Turn exposures of one domain into `low`, `middle`, and `high`, at the terciles of its training images.

    Exposure index, deviation index, and kVp x mAs can't be compared with each other, so one scale counts for
    the whole domain: the one that most training images have (the first of these among equals). Images without
    it stay unknown, and so do all where fewer than three different numbers are known. What tables say stays.
    """
    training = [row for row in rows if row.split == "train"]
    scale = max(EXPOSURE_SCALES, key=lambda name: sum(name in row.attributes for row in training))
    numbers = [float(row.attributes[scale]) for row in training if scale in row.attributes]
    limits = np.quantile(numbers, (1 / 3, 2 / 3)) if len(set(numbers)) >= 3 else None
    binned = []
    for row in rows:
        words = {name: value for name, value in row.attributes.items() if name not in EXPOSURE_SCALES}
        if limits is not None and scale in row.attributes:
            place = int(np.searchsorted(limits, float(row.attributes[scale])))
            words.setdefault(EXPOSURE, EXPOSURE_VALUES[place])
        binned.append(dataclasses.replace(row, attributes=words))
    return binned


def resolve_attributes(config: AttributesConfig, rows: Rows) -> AttributesConfig:
    """Fill in the values of `auto` groups and the sensible combinations, from the training images alone.

    The six commonest values of a group are kept (by name among equals); one with fewer than two is dropped.
    A combination is sensible if a training image has it and knows every group that any training image of its
    domain knows. What the configuration has already is left as it is.

    Raises:
        NothingUsableError: no training image of a domain knows all of its groups, so it has no class.
    """
    training = [row for domain in DOMAIN_VALUES for row in rows[domain] if row.split == "train"]
    groups = {
        name: _common_values(training, name) if values == "auto" else values
        for name, values in config.groups.items()
    }
    groups = {name: values for name, values in groups.items() if len(values) > 1}
    resolved = AttributesConfig(groups=groups)
    sensible = config.sensible or _find_sensible(training, resolved)
    return AttributesConfig(groups=groups, sensible=sensible)


def combination(row: ManifestRow, config: AttributesConfig) -> Combination:
    """The domain of an image and its value in each group; None where it is unknown or none of the group's."""
    values = (row.attributes.get(name) for name in config.groups)
    known = zip(values, config.groups, strict=True)
    return (row.domain, *(value if value in config.values(name) else None for value, name in known))


def row_codes(rows: Sequence[ManifestRow], config: AttributesConfig) -> Float[Tensor, "n C"]:
    """Code of each image, unknown bits -1."""
    codes = [config.encode({**row.attributes, "domain": row.domain}) for row in rows]
    return torch.stack(codes) if codes else torch.empty(0, config.size)


def _common_values(training: Sequence[ManifestRow], name: str) -> tuple[str, ...]:
    counts = Counter(row.attributes[name] for row in training if name in row.attributes)
    return tuple(sorted(counts, key=lambda value: (-counts[value], value))[:_MOST_VALUES])


def _find_sensible(training: Sequence[ManifestRow], config: AttributesConfig) -> tuple[Combination, ...]:
    found: list[Combination] = []
    for domain in DOMAIN_VALUES:
        seen = Counter(combination(row, config) for row in training if row.domain == domain)
        told = [any(values[place] is not None for values in seen) for place in range(len(config.names))]
        whole = [
            values
            for values in seen
            if all(value is not None or not t for value, t in zip(values, told, strict=True))
        ]
        if not whole:
            known = ", ".join(
                name for name, t in zip(config.names, told, strict=True) if t and name != "domain"
            )
            raise NothingUsableError(
                f"the {domain} domain",
                found=f"no training image for which all of {known or 'its attributes'} are known",
                expected="at least one, to learn the class from",
                remedy="fill attributes.csv, or tell fewer groups (adapter.attributes.groups)",
            )
        # the commonest first: what `translate` takes where nothing is asked for
        found += sorted(whole, key=lambda values: (-seen[values], [v or "" for v in values]))
    return tuple(found)
