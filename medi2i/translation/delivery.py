"""How translations are written: compression, segmentation objects, and under which names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medi2i.adapters import Direction
from medi2i.data.dataset_folder import IMAGES
from medi2i.data.manifest import ManifestRow, file_sha256, load_masks
from medi2i.data.outputs import SEGMENTATIONS
from medi2i.data.pseudonyms import Pseudonyms
from medi2i.errors import UsageError
from medi2i.io import WriteOptions, find_format
from medi2i.io.dicom_segmentation import require_highdicom, write_segmentation
from medi2i.io.format import Compression
from medi2i.translation.styles import Look


@dataclass(frozen=True)
class Delivery:
    """What is asked of the files of a translation.

    Attributes:
        compression: lossless, of DICOM images.
        segmentations: whether the masks of DICOM images are written as DICOM SEG, too.
        pseudonyms: new names, where nothing may show whose images these are; None to keep names and patients.
    """

    compression: Compression = "none"
    segmentations: bool = False
    pseudonyms: Pseudonyms | None = None

    @property
    def marks(self) -> tuple[str, ...]:
        """What sets files of this kind apart from plain ones; nothing for plain ones."""
        wanted = {self.compression: self.compression != "none", "segmentations": self.segmentations}
        return tuple(name for name, asked in wanted.items() if asked)

    def hash_of(self, row: ManifestRow) -> str:
        """Hash of the input's content, as it may be written."""
        return row.sha256 if self.pseudonyms is None else self.pseudonyms.digest(row.sha256)

    def cover_facts(self, look: Look) -> dict[str, Any]:
        """What provenance says of a look; hashes of its references as those of inputs are written."""
        if self.pseudonyms is None or "references" not in look.facts:
            return dict(look.facts)
        hashes = [self.pseudonyms.digest(one) for one in look.facts["references"]]
        return {**look.facts, "references": hashes}

    def options(
        self, row: ManifestRow, origin: dict[str, Any], direction: Direction, look: Look
    ) -> WriteOptions:
        """What the writer of one image is asked for; one translation of a series is one new series."""
        weights = str(origin["weights_sha256"])
        return WriteOptions(
            weights_sha256=weights,
            compression=self.compression,
            series="|".join((weights, direction, look.key)),
            patient_key=row.patient,
            uid_secret=None if self.pseudonyms is None else self.pseudonyms.secret,
        )

    def write_masks(self, row: ManifestRow, root: Path, image: Path, out: Path) -> dict[str, str]:
        """Write the segmentation of an image just written, if it shall have one; what provenance says of it.

        Raises:
            MaskMismatchError: the masks don't fit the image any more.
            DiskFullError: there is no room.
        """
        if not self.segmentations or row.mask is None or not is_dicom(root / row.file):
            return {}
        masks = load_masks(root / row.mask, row.structures, (row.rows, row.columns))
        path = out / SEGMENTATIONS / image.relative_to(out / IMAGES)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_segmentation(path, masks, row.structures, image=image)
        return {
            "segmentation": path.relative_to(out).as_posix(),
            "segmentation_sha256": file_sha256(path),
        }

    def require_possible(self, rows: Sequence[ManifestRow], root: Path) -> None:
        """Refuse compression and segmentations where no image could have them.

        Raises:
            UsageError: no image is DICOM, or no DICOM image has masks.
            EnvironmentProblemError: highdicom isn't installed.
        """
        if self.compression != "none" and not any(is_dicom(root / row.file) for row in rows):
            raise UsageError(
                f"--compress {self.compression}",
                found="no DICOM image",
                expected="DICOM images: other formats are written as they came",
                remedy="drop the option",
            )
        if not self.segmentations:
            return
        if not any(row.mask is not None and is_dicom(root / row.file) for row in rows):
            raise UsageError(
                "--dicom-seg",
                found="no DICOM image with masks",
                expected="DICOM images beside a folder masks/ (docs/dataset-folder.md)",
                remedy="drop the option: masks are carried along without it",
            )
        require_highdicom()


def is_dicom(path: Path) -> bool:
    """Whether a file is read, and so written, as DICOM."""
    known = find_format(path)
    return known is not None and known.name == "dicom"
