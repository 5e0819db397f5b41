"""What an evaluation writes: `results.json` and pictures; and the check of carried masks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medi2i.data.dataset_folder import MASKS
from medi2i.data.manifest import ManifestRow, file_sha256
from medi2i.data.outputs import output_masks
from medi2i.errors import CheckpointError
from medi2i.evaluation.domains import Domains, Translation
from medi2i.io.atomic import write_text_atomically

RESULTS_FORMAT = 1
_PREVIEW_SIDE = 512


def check_masks(rows: Sequence[ManifestRow], root: Path, folder: Path) -> dict[str, int]:
    """How many masks were carried, and how many of them are byte for byte what they were."""
    masks = output_masks(rows)
    carried = identical = 0
    for row in rows:
        if row.mask is None:
            continue
        origin, copy = root / row.mask, folder / MASKS / masks[row.id]
        pairs = [(origin, copy)]
        if origin.is_dir():
            pairs = [(path, copy / path.name) for path in sorted(origin.glob("*.png"))]
        present = all(copied.is_file() for _, copied in pairs)
        carried += present
        identical += present and all(file_sha256(a) == file_sha256(b) for a, b in pairs)
    return {
        "in_source": len(masks),
        "carried": carried,
        "identical": identical,
    }


def write_worst(
    domains: Domains, translation: Translation, rows: Sequence[Mapping[str, Any]], folder: Path, count: int
) -> list[dict[str, str]]:
    """Pictures (source | translated) of the images that kept the least structure, chosen by the metric."""
    order = sorted(rows, key=lambda row: (not row["flags"], _or_worst(row["gradient_correlation"])))
    manifest = {row.id: row for row in domains.source}
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for rank, chosen in enumerate(order[:count], start=1):
        image = domains.read(manifest[chosen["id"]])
        path = folder / f"worst-{rank}.png"
        write_picture(path, np.concatenate([image.image, translation(image)], axis=1))
        pictures.append({"id": image.row.id, "picture": f"{folder.name}/{path.name}"})
    return pictures


def write_picture(path: Path, image: np.ndarray, *, side: int | None = _PREVIEW_SIDE) -> None:
    """8-bit PNG of a [-1, 1] image for looking at, at most `side` rows high."""
    picture = Image.fromarray(np.rint((np.clip(image, -1, 1) + 1) * 127.5).astype(np.uint8))
    if side is not None and picture.height > side:
        width = round(picture.width * side / picture.height)
        picture = picture.resize((width, side), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def write_results(path: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """JSON with undefined numbers as null.

    Returns:
        the same as it will be read: plain values, None for what is undefined.
    """
    plain: dict[str, Any] = _plain(results)
    write_text_atomically(path, json.dumps(plain, indent=1, allow_nan=False))
    return plain


def read_results(path: Path) -> dict[str, Any]:
    """What `write_results` wrote of a run, to be added to; the report has a reader that checks it all.

    Raises:
        CheckpointError: it is missing, or no JSON object.
    """
    try:
        results = json.loads(path.read_bytes())
        if not isinstance(results, dict):
            raise TypeError
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            path,
            found=f"no readable results ({type(error).__name__})",
            expected="the results that `medi2i adapt` writes when it is done",
            remedy="check the path, or finish the run with `medi2i adapt --resume --out RUN`",
        ) from None
    return results


def _or_worst(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
