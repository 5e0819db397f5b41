"""Acquisition attributes in the main job: what the method asks for, filled in from what the images have."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

from medi2i.adaptation.settings import AdaptConfig
from medi2i.data.attribute_tables import ATTRIBUTES_CSV
from medi2i.data.attributes import AttributesConfig
from medi2i.data.classes import resolve_attributes
from medi2i.data.dataset_folder import DatasetFolder
from medi2i.data.manifest import ManifestRow
from medi2i.errors import DatasetFolderError
from medi2i.image import Domain

Rows = Mapping[Domain, Sequence[ManifestRow]]


def told_attributes(config: AdaptConfig) -> AttributesConfig | None:
    """What the method is told of images; None for methods that are told nothing."""
    told = getattr(config.adapter, "attributes", None)
    return told if isinstance(told, AttributesConfig) else None


def resolve_config(config: AdaptConfig, rows: Rows) -> AdaptConfig:
    """The configuration with `auto` groups and sensible combinations filled in; a filled-in one unchanged.

    Raises:
        NothingUsableError: no training image of a domain has all of its attributes known.
    """
    told = told_attributes(config)
    if told is None:
        return config
    adapter = config.adapter.model_copy(update={"attributes": resolve_attributes(told, rows)})
    return config.model_copy(update={"adapter": adapter})


def check_stated(folder: DatasetFolder, told: AttributesConfig) -> None:
    """Refuse a value in a folder's tables that its group doesn't have; headers may have any.

    Raises:
        DatasetFolderError: naming the first of them.
    """
    for item in folder.items:
        for name, value in item.attributes.items():
            values = told.values(name) if name in told.groups and name not in told.unresolved else (value,)
            if value in values:
                continue
            near = difflib.get_close_matches(value.lower(), [known.lower() for known in values], n=1)
            meant = next((known for known in values if [known.lower()] == near), None)
            raise DatasetFolderError(
                folder.root / ATTRIBUTES_CSV,
                found=f"{name} '{value}' of '{item.relative.as_posix()}'",
                expected=f"one of {', '.join(values)}, as adapter.attributes.groups says",
                remedy=f"did you mean '{meant}'?"
                if meant
                else "mend the tables, or add the value to the group",
            )


def describe_attributes(config: AdaptConfig, rows: Rows) -> list[str]:
    """Warnings: groups that say nothing, and values that their group lacks."""
    told = told_attributes(config)
    if told is None:
        return []
    resolved, warnings = resolve_attributes(told, rows), []
    for name in told.groups:
        if name not in resolved.groups:
            warnings.append(
                f"{name}: fewer than two values in the training images, so the method is not told it"
            )
            continue
        every = [row for domain in rows for row in rows[domain]]
        if not any(
            row.attributes.get(name) in resolved.values(name) for row in every if row.split == "train"
        ):
            warnings.append(f"{name}: unknown for all training images, so the method learns nothing of it")
        foreign = Counter(row.attributes[name] for row in every if name in row.attributes)
        foreign = Counter({v: count for v, count in foreign.items() if v not in resolved.values(name)})
        if foreign:
            warnings.append(
                f"{name}: {foreign.total()} image(s) with a value that the group lacks, the commonest "
                f"'{foreign.most_common(1)[0][0]}': unknown to the method"
            )
    return warnings
