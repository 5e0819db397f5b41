"""A run of grey levels (films 200 + index, translated images 20 + index), its page, and answers to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from medi2i.data.manifest import ManifestRow
from medi2i.evaluation import NetworkImage
from medi2i.image import IntensityMap
from medi2i.reader_study import ReaderStudyConfig, WrittenStudy, write_study

SIDE = 24
NAMED = "Doe_Jane_1961"


def make_row(domain: str, index: int, *, split: str = "test", patient: str | None = None) -> ManifestRow:
    """One image whose file name is an identity."""
    return ManifestRow(
        id=f"{domain}-{index:04d}",
        domain=domain,
        file=f"images/{NAMED}_{domain}_{index}.png",
        output=f"{NAMED}_{domain}_{index}.png",
        sha256=f"{index}",
        rows=SIDE,
        columns=SIDE,
        intensity=IntensityMap(0.0, 1.0),
        valid_fraction=1.0,
        split=split,
        patient=patient or f"{domain}-patient-{index}",
    )


def make_rows(domain: str, number: int) -> list[ManifestRow]:
    """Test images, one a patient."""
    return [make_row(domain, index) for index in range(number)]


class FlatDomains:
    """Stands for `Domains`: constant images, whose grey level tells which one it is."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = make_rows("source", source), make_rows("target", target)

    def read(self, row: ManifestRow) -> NetworkImage:
        """One image."""
        grey = (200 if row.domain == "target" else 20) + int(row.id[-4:])
        image = np.full((SIDE, SIDE), grey / 127.5 - 1, np.float32)
        return NetworkImage(row, image, np.ones((SIDE, SIDE), bool))


def as_translated(image: NetworkImage) -> np.ndarray:
    """The identity."""
    return image.image


def make_study(folder: Path, **values: object) -> WrittenStudy:
    """A page of 4 trials, 2 practice pairs and 2 checks, unless told otherwise."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    (run / "results.json").write_text(json.dumps({"format": 1}))
    domains = FlatDomains(12, 16)
    settings = {"trials": 4, "practice": 2, "checks": 2, "seconds": 0.1} | values
    return write_study(
        domains,  # type: ignore[arg-type]
        as_translated,
        translated=domains.source,
        run=run,
        out=folder / "page.html",
        config=ReaderStudyConfig.model_validate(settings),
    )


def sheet(key, reader, *, fooled=0, wrong_checks=0, finished="2026-01-01T10:00:00Z", **changes):
    """Answers that are fooled in so many trials, and miss so many checks; the film is always shown first."""
    answers = []
    for kind, errors in (("trial", fooled), ("check", wrong_checks), ("practice", 0)):
        for number, pair in enumerate(key.of_kind(kind).values()):
            chosen = pair.other if number < errors else pair.real
            answers.append(
                {
                    "pair": pair.token,
                    "shown": [pair.real, pair.other],
                    "chosen": chosen,
                    "shown_ms": [1000, 1000],
                    "response_ms": 500 + 100 * number,
                }
            )
    return {
        "format": 1,
        "study": key.study,
        "reader": reader,
        "experience": "daily",
        "seconds": key.seconds,
        "started": "2026-01-01T09:50:00Z",
        "finished": finished,
        "answers": answers,
    } | changes
