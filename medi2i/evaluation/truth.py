"""Errors against true target images, where the user has some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.data.manifest import ManifestRow
from medi2i.errors import MaskMismatchError
from medi2i.evaluation.domains import Domains, NetworkImage, Translation
from medi2i.evaluation.measurement import ssim_where_defined, summarize
from medi2i.image import Radiograph, fit_intensity
from medi2i.io.decoder_pool import decoders
from medi2i.metrics.paired import mean_absolute_error


def measure_truth(
    domains: Domains,
    truth: Mapping[str, Path],
    translations: Mapping[str, Translation],
    *,
    tick: Callable[[], None],
) -> dict[str, Any] | None:
    """Error against the true target image of source patients never trained on, where the user has some.

    Args:
        truth: source row id to the file of the same view in the target domain.
        translations: name to translation; identity and histogram matching stand beside the method.

    Raises:
        MaskMismatchError: a true image has another matrix than its source image.
    """
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in translations}
    used: list[ManifestRow] = []
    for image in domains.images("source", "test"):
        if image.row.id not in truth:
            continue
        true, valid = true_image(truth[image.row.id], image, domains)
        used.append(image.row)
        for name, translation in translations.items():
            out = translation(image)
            rows[name].append(
                {
                    # [-1, 1] is two wide: errors are stated as a fraction of the range
                    "mean_absolute_error": mean_absolute_error(out, true, valid) / 2,
                    "ssim": ssim_where_defined(true, out, valid),
                }
            )
        tick()
    if not used:
        return None
    measures = ("mean_absolute_error", "ssim")
    return {
        "n_images": len(used),
        "n_patients": len({row.patient or row.id for row in used}),
        **{name: summarize(values, used, measures) for name, values in rows.items()},
    }


def require_matrix(path: Path, matrix: tuple[int, int]) -> Radiograph:
    """A true target image, read.

    Raises:
        MaskMismatchError: it has another matrix (rows, columns) than its source image.
        UnreadableImageError: it can't be decoded.
    """
    true, _ = decoders().read_radiograph(path)
    if true.pixels.shape != matrix:
        raise MaskMismatchError(
            path,
            found=f"{true.pixels.shape[0]} x {true.pixels.shape[1]} pixels",
            expected=f"its source image's {matrix[0]} x {matrix[1]}",
            remedy="give the true image in the geometry of its source image",
        )
    return true


def true_image(path: Path, image: NetworkImage, domains: Domains) -> tuple[np.ndarray, np.ndarray]:
    """The true target image (H, W) of a source image in [-1, 1], and the pixels that are valid in both.

    Raises:
        MaskMismatchError: it has another matrix.
        UnreadableImageError: it can't be decoded.
    """
    true = require_matrix(path, (image.row.rows, image.row.columns))
    config = domains.data.target_intensity
    mapping = fit_intensity(true, config) if config.fit == "image" else domains.intensities["target"]
    return mapping.to_network(true.pixels, true.header), image.valid & true.valid
