"""The section `downstream` of results.json: the table, and what a reader has to know of films and labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medi2i.downstream.dont_care import WORDS
from medi2i.downstream.films import Films
from medi2i.downstream.ground import Ground
from medi2i.downstream.labels import measure_ceiling
from medi2i.downstream.rows import ORACLE, Row
from medi2i.downstream.table import Table, label_budget
from medi2i.downstream.testing import Testing


def film_remarks(films: Films) -> list[str]:
    """What is to be said of films before their scores, a sentence each."""
    remarks = []
    if films.skipped:
        remarks.append(f"{films.skipped} film(s) can't be read and are left out.")
    if not films.patients_known:
        remarks.append("Patients of the films are unknown: each film counts as one.")
    if films.n_patients == 1:
        remarks.append("All films are of one patient: no interval, and no test.")
    if films.unit == "px":
        remarks.append("The spacing of some films is unknown: distances are in pixels.")
    for name, count in _count_empty(films).items():
        if count:
            remarks.append(f"{name} is empty in {count} of {len(films.films)} films.")
    return remarks


def compose_facts(
    table: Table, testing: Testing, starts: Sequence[Row], *, transductive: bool, notes: Sequence[str]
) -> dict[str, Any]:
    """The section, as JSON takes it.

    Args:
        table: of all rows.
        testing: what they were tested on.
        starts: rows that few-shot trainings begin with.
        transductive: whether the run has seen test films or their patients.
        notes: a sentence each.
    """
    ground, films = testing.ground, table.films
    labels = ground.labels
    ceiling, note = measure_ceiling(ground.domains, labels)
    described = table.describe()
    has_oracle = any(row["name"] == ORACLE for row in described)
    mirrored = table.own_minus_other()
    return {
        "films": {
            "n_images": len(films.films),
            "n_patients": films.n_patients if films.patients_known else None,
            "structures": list(labels.structures),
            "skipped": films.skipped,
            "empty": _count_empty(films),
        },
        "settings": {
            **_settings(ground, films, transductive=transductive),
            "folds_hash": hash_folds(testing),
        },
        "labels": {
            "source_convention": labels.source_convention,
            "target_convention": labels.target_convention,
            "map": {label: list(parts) for label, parts in labels.parts.items()},
            "left_out": list(labels.left_out),
            "ceiling": ceiling,
            "ceiling_note": note,
            "dont_care": WORDS,
        },
        "rows": described,
        "budget": label_budget(
            described,
            starts=[row.name for row in starts],
            of_oracle=testing.fewest() if has_oracle else None,
        ),
        "mirrored": None if mirrored is None else table.summarize(mirrored),
        "notes": list(notes),
    }


def _settings(ground: Ground, films: Films, *, transductive: bool) -> dict[str, Any]:
    config = ground.config
    in_mm = films.unit == "mm"
    return {
        "seeds": list(config.seeds),
        "folds": min(config.folds, films.n_patients),
        "few_shot": list(config.few_shot),
        "protocols": list(config.protocols),
        "segmenter": " ".join((Path(config.segmenter.config).name, *config.segmenter.set)),
        "transductive": transductive,
        "tolerance": config.tolerance_mm if in_mm else config.tolerance_px,
        "unit": films.unit,
        "framing": ground.framing.note,
    }


def _count_empty(films: Films) -> dict[str, int]:
    return {name: sum(name in film.empty for film in films.films) for name in films.labels.structures}


def hash_folds(testing: Testing) -> str:
    """What tells a table on the same films and folds from others."""
    facts = [[film.sha256 for film in testing.films.films], list(testing.folds)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
