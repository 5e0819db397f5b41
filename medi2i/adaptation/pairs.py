"""Exact pairs: source and target images of one name, for methods that learn from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

from medi2i.adaptation.truth import image_name
from medi2i.data.manifest import ManifestRow
from medi2i.errors import MaskMismatchError, UsageError


def pair_splits(source: Sequence[ManifestRow], target: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Target rows with the splits of their source rows, so that a pair is on one side.

    Raises:
        UsageError: an image of one domain has no partner of its name in the other.
        MaskMismatchError: a pair's images have different matrices.
    """
    order_pairs(source, target)
    split_of = {_name(row): row.split for row in source}
    return [dataclasses.replace(row, split=split_of[_name(row)]) for row in target]


def order_pairs(source: Sequence[ManifestRow], target: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Target rows in the order of their source rows.

    Raises:
        UsageError: an image of one domain has no partner of its name in the other.
        MaskMismatchError: a pair's images have different matrices.
    """
    partners, names = _named(target), _named(source)
    _require_partners(names.items(), partners.keys(), "target")
    _require_partners(partners.items(), names.keys(), "source")
    ordered = [partners[name] for name in names]
    for row, partner in zip(source, ordered, strict=True):
        if (row.rows, row.columns) != (partner.rows, partner.columns):
            raise MaskMismatchError(
                partner.file,
                found=f"{partner.rows} x {partner.columns} pixels",
                expected=f"its source image's {row.rows} x {row.columns}",
                remedy="give the target image in the geometry of its source image",
            )
    return ordered


def _named(rows: Sequence[ManifestRow]) -> dict[Path, ManifestRow]:
    named: dict[Path, ManifestRow] = {}
    for row in rows:
        if named.setdefault(_name(row), row) is not row:
            raise UsageError(
                row.file,
                found=f"a second {row.domain} image of this name",
                expected="one image of a name: pairs are found by it",
                remedy="rename one of them",
            )
    return named


def _name(row: ManifestRow) -> Path:
    return image_name(Path(row.output))


def _require_partners(
    rows: Collection[tuple[Path, ManifestRow]], partners: Collection[Path], missing: str
) -> None:
    alone = [row for name, row in rows if name not in partners]
    if alone:
        raise UsageError(
            alone[0].file,
            found=f"{len(alone)} {alone[0].domain} image(s) without a {missing} image of the same name",
            expected="exact pairs: this method learns from images that show the same",
            remedy="give both domains the same names, or use a method for unpaired images",
        )
