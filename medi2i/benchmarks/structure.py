"""Whether anatomy stayed where it was: against the source image, and against true films where they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from pydantic import Field

from medi2i.benchmarks.finished import FinishedRun
from medi2i.benchmarks.measure import Measured, MeasureSettings, mean_values, patient_numbers
from medi2i.evaluation import NetworkImage
from medi2i.evaluation.measurement import ssim_where_defined
from medi2i.metrics.deformation import DeformationConfig, measure_deformation
from medi2i.metrics.paired import mean_absolute_error


class StructureMeasure(MeasureSettings):
    """Displacement, and errors to the truth, of source test images; means over images.

    | Value | Of |
    |---|---|
    | `moved_p50_px`, `moved_p95_px` | displacement between source and translation |
    | `truth_mae`, `truth_ssim` | translation and true film; the error as a share of the range |
    | `truth_moved_p95_px` | displacement between true film and translation |
    | `back_moved_p95_px` | displacement between a true film and its translation back |
    | `back_mae`, `back_ssim` | translation back of a true film, and the DRR it belongs to |

    Pixels are those of the image's own matrix. Without true films only the first row, and `back_moved_p95_px`
    on the target's test images; without a way back no `back_` value. NaN where undefined. The displacement of
    identity against the true film is what the instrument finds where nothing moved.

    Attributes:
        images: at most so many test images, the first ones; all without it.
        back: whether to measure the way back, too.
        deformation: how displacement is measured.
    """

    name: Literal["structure"] = "structure"
    images: int | None = Field(default=None, ge=1)
    back: bool = True
    deformation: DeformationConfig = DeformationConfig()

    def measure(self, run: FinishedRun) -> Measured:
        """All test images, one way and back."""
        numbers = patient_numbers(run.domains.source)
        rows: list[dict[str, Any]] = []
        for image in self._some(run.test_images()):
            rows.append({"id": image.row.id, "patient": numbers[image.row.id], **self._of_image(run, image)})
        if self.back and not run.truth and run.translator.adapter.bidirectional:
            rows += self._of_films(run)
        keys = list(dict.fromkeys(key for row in rows for key in row if key not in ("id", "patient")))
        return Measured(mean_values(rows, keys), rows)

    def _some(self, images: Iterator[NetworkImage]) -> Iterator[NetworkImage]:
        for number, image in enumerate(images):
            if self.images is not None and number >= self.images:
                return
            yield image

    def _of_image(self, run: FinishedRun, image: NetworkImage) -> dict[str, float]:
        out = run.translation(image)
        moved = measure_deformation(
            image.image, out, spacing_mm=None, valid=image.valid, config=self.deformation
        )
        row = {"moved_p50_px": moved.p50_px, "moved_p95_px": moved.p95_px}
        true = run.true_film(image)
        if true is None:
            return row
        film, valid = true
        row |= {
            "truth_mae": mean_absolute_error(out, film, valid) / 2,  # [-1, 1] is two wide
            "truth_ssim": ssim_where_defined(film, out, valid),
            "truth_moved_p95_px": self._p95_px(film, out, valid),
        }
        if self.back and run.bidirectional:
            back = run.translate_back(film, valid)
            row |= {
                "back_moved_p95_px": self._p95_px(film, back, valid),
                "back_mae": mean_absolute_error(back, image.image, valid) / 2,
                "back_ssim": ssim_where_defined(image.image, back, valid),
            }
        return row

    def _of_films(self, run: FinishedRun) -> list[dict[str, Any]]:
        """The way back of films that no DRR belongs to."""
        numbers = patient_numbers(run.domains.target)
        rows: list[dict[str, Any]] = []
        if not run.bidirectional:
            return rows
        for film in self._some(run.test_images("target")):
            p95_px = self._p95_px(film.image, run.translate_back(film.image, film.valid), film.valid)
            rows.append({"id": film.row.id, "patient": numbers[film.row.id], "back_moved_p95_px": p95_px})
        return rows

    def _p95_px(self, one: np.ndarray, other: np.ndarray, valid: np.ndarray) -> float:
        return measure_deformation(one, other, spacing_mm=None, valid=valid, config=self.deformation).p95_px
