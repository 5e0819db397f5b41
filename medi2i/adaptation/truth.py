"""True target images of source images, found by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medi2i.data.dataset_folder import discover, image_stem
from medi2i.data.manifest import ManifestRow
from medi2i.errors import UsageError
from medi2i.evaluation import require_matrix


def find_truth(folder: str | None, source: Sequence[ManifestRow]) -> dict[str, Path]:
    """True target image of each source row (by id) that has one: the file of the same name, suffix aside."""
    if folder is None:
        return {}
    files = {image_name(item.relative): item.path for item in discover(Path(folder)).items}
    return {row.id: files[key] for row in source if (key := image_name(Path(row.output))) in files}


def image_name(path: Path) -> Path:
    """What two images that belong together share: their path without suffix."""
    return path.with_name(image_stem(path))


def check_truth(folder: str | None, source: Sequence[ManifestRow]) -> list[str]:
    """Read the true images that will be measured, so that a wrong one is an error before the training.

    Returns:
        warnings.

    Raises:
        UsageError: no image has the name of a source image.
        MaskMismatchError: one has another matrix than its source image.
        UnreadableImageError: one can't be decoded.
    """
    truth = find_truth(folder, source)
    if folder is not None and not truth:
        raise UsageError(
            folder,
            found="no image with the name of a source image",
            expected="true target images named as their source images",
            remedy="rename them, or leave --truth out",
        )
    measured = [row for row in source if row.split == "test" and row.id in truth]
    for row in measured:
        require_matrix(truth[row.id], (row.rows, row.columns))
    if truth and not measured:
        return ["truth: no true image of a source image that is not trained on; not measured"]
    return []
