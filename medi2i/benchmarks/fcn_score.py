"""FCN-score of runs: whether a segmenter of true films finds in translations what their masks say."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from medi2i.benchmarks.finished import FinishedRun
from medi2i.benchmarks.folders import Folders, Groundwork
from medi2i.benchmarks.measure import Measured, MeasureSettings, patient_numbers
from medi2i.benchmarks.segmenters import label_films, require_pairs
from medi2i.data.manifest import load_masks
from medi2i.evaluation import NetworkImage
from medi2i.metrics.fcn_score import fcn_score
from medi2i.segmentation import Segmenter, SegmenterChoice, load_segmenter, segment_image, train_segmenter

_Answer = tuple[np.ndarray, np.ndarray, np.ndarray]
_FILM, _DRR = "film_segmenter", "source_segmenter"
_SCORES = ("pixel_accuracy", "class_accuracy", "class_iou")


class FCNScoreMeasure(MeasureSettings):
    """The FCN-score of CycleGAN's paper (Zhu et al., ICCV 2017, section 5.1.1), for overlapping structures.

    One segmenter is trained on the true films of the source's training patients and sees translated test
    images; another is trained on the source images and sees true films that were translated back. The score
    is in `medi2i.metrics.fcn_score`. Values: `pixel_accuracy`, `class_accuracy`, `class_iou`, the same with
    `back_` where the method has a way back, and what is possible: `film_class_iou` of true films,
    `source_class_iou` of source images. The data need masks, true films, and splits in `patients.csv`.

    A score says how well anatomy can be read in the segmenter's own domain, so the segmenters' training
    images keep their looks: no appearance randomisation.

    Attributes:
        segmenter: settings of both segmenters.
        back: whether to measure the way back, too.
    """

    name: Literal["fcn_score"] = "fcn_score"
    segmenter: SegmenterChoice = SegmenterChoice(set=("appearance=null",))
    back: bool = True

    def check(self, folders: Folders) -> None:
        """The segmenters' settings, and source images with splits, masks and true films."""
        self.segmenter.load()
        if folders.are_there:
            require_pairs(folders)

    def prepare(self, ground: Groundwork) -> None:
        """Train the two segmenters; what is trained is left as it is."""
        films = ground.shared / "labelled_films"
        label_films(ground.folders, films)
        config = self.segmenter.load()
        chosen = {_FILM: films} | ({_DRR: ground.folders.source} if self.back else {})
        for name, folder in chosen.items():
            train_segmenter(
                config,
                [folder],
                out=ground.shared / name,
                device=ground.device,
                resume=True,
                stop=ground.stop,
            )

    def measure(self, run: FinishedRun) -> Measured:
        """Both segmenters on the test images of a run."""
        of_films = load_segmenter(run.shared / _FILM, device=run.device)
        of_source = load_segmenter(run.shared / _DRR, device=run.device) if self.back else None
        numbers = patient_numbers(run.domains.source)
        answers: dict[str, list[_Answer]] = {"": [], "film_": [], "source_": [], "back_": []}
        rows: list[dict[str, Any]] = []
        for image in run.test_images():
            if image.row.mask is None:
                continue
            found = _answer(run, image, of_films, of_source)
            row: dict[str, Any] = {"id": image.row.id, "patient": numbers[image.row.id]}
            for name, answer in found.items():
                answers[name].append(answer)
                if name in ("", "back_"):
                    row[f"{name}class_iou"] = fcn_score([answer]).class_iou
            rows.append(row)
        values: dict[str, float] = {}
        for name, keys in (
            ("", _SCORES),
            ("back_", _SCORES),
            ("film_", _SCORES[2:]),
            ("source_", _SCORES[2:]),
        ):
            if answers[name]:
                score = fcn_score(answers[name])
                values |= {f"{name}{key}": getattr(score, key) for key in keys}
        return Measured(values, rows)


def _answer(
    run: FinishedRun, image: NetworkImage, of_films: Segmenter, of_source: Segmenter | None
) -> dict[str, _Answer]:
    """What is found in an image's translation, its true film, itself, and its film translated back."""
    valid = image.valid
    masks = load_masks(run.domains.source_root / (image.row.mask or ""), image.row.structures, valid.shape)
    found = {"": (segment_image(of_films, run.translation(image), valid), masks, valid)}
    true = run.true_film(image)
    if true is not None:
        film, seen = true
        found["film_"] = (segment_image(of_films, film, seen), masks, seen)
    if of_source is None:
        return found
    found["source_"] = (segment_image(of_source, image.image, valid), masks, valid)
    if true is not None and run.bidirectional:
        found["back_"] = (segment_image(of_source, run.translate_back(*true), true[1]), masks, true[1])
    return found
