"""The whole trial on made scores: who sets thresholds, who is tested, and what is done to whom."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medi2i.errors import DatasetFolderError, UsageError
from medi2i.evaluation.controls import (
    ControlsConfig,
    PairScores,
    read_phantom_pairs,
    run_controls,
    split_patients,
)
from medi2i.evaluation.controls import trial as trial_module
from medi2i.evaluation.controls.trial import wiped
from tests.evaluation.controls.chests import chest


@pytest.fixture(scope="module")
def pairs():
    return [chest(seed) for seed in range(3)]


def test_patients_are_on_one_side_each(pairs):
    twice = [*pairs, *(replace(pair) for pair in pairs)]
    calibration, tested = split_patients(twice)
    assert [pair.patient for pair in calibration] == ["patient-0", "patient-2"] * 2
    assert [pair.patient for pair in tested] == ["patient-1"] * 2


def test_one_patient_is_refused(pairs):
    with pytest.raises(UsageError, match="two at least"):
        split_patients(pairs[:1] * 3)


def test_all_controls_are_made_of_the_tested_and_style_alone_of_the_others(pairs, monkeypatch):
    seen: list[str] = []

    def score(pair, config):
        seen.append(pair.patient)
        levels = pair.translated[pair.valid]
        scores = dict.fromkeys(("geometry", "content", "orientation", "labels"), 0.5)
        scores["labels"] = 0.5 + float(pair.masks is not chest_masks[pair.patient])
        return PairScores(pair.patient, scores, ("constant",) if np.ptp(levels) == 0 else ())

    chest_masks = {pair.patient: pair.masks for pair in pairs}
    four = [*pairs, replace(pairs[1], patient="patient-3", masks=dict(pairs[1].masks))]
    chest_masks["patient-3"] = four[3].masks
    monkeypatch.setattr(trial_module, "score_pair", score)
    judged = run_controls(four, seed=0, config=ControlsConfig(nodule_radius_px=(4, 4), rib_length_px=48))
    by_name = {result.name: result for result in judged.results}
    positives = {name for name, result in by_name.items() if result.expected}
    assert positives == {f"warp_{size}_px" for size in (1, 2, 4, 8)} | {
        "dropped_rib",
        "inserted_nodule",
        "removed_nodule",
        "flip",
        "shuffled_labels",
    }
    assert {result.n for result in judged.results} == {2}
    # six style changes of four; nine positives, constant and empty of two
    assert {patient: seen.count(patient) for patient in set(seen)} == {
        "patient-0": 6,
        "patient-1": 17,
        "patient-2": 6,
        "patient-3": 17,
    }
    assert by_name["shuffled_labels"].by["labels"] == 1
    assert by_name["blur"].flagged == 0
    # this made sanity sees no inversion
    assert judged.controls.state == "failed"
    assert "image sanity misses 2 of inversion" in judged.controls.reasons


def test_wiped_images_show_nothing(pairs):
    assert np.unique(wiped(pairs[0], "empty").translated).tolist() == [-1]
    assert np.unique(wiped(pairs[0], "constant").translated).size == 1


def write_phantom(folder: Path, films: int) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("drr", 2), ("truth", films)):
        (folder / name / "images").mkdir(parents=True)
        for number in range(count):
            codes = rng.integers(0, 60000, (40, 32)).astype(np.uint16)
            Image.fromarray(codes).save(folder / name / "images" / f"p{number}.png")
    for number in range(2):
        (folder / "drr" / "masks" / f"p{number}").mkdir(parents=True)
        plane = np.zeros((40, 32), dtype=np.uint8)
        plane[: 10 + number] = 255
        Image.fromarray(plane).save(folder / "drr" / "masks" / f"p{number}" / "left_lung.png")


def test_phantom_pairs_are_drrs_with_their_films_and_masks(tmp_path):
    write_phantom(tmp_path, films=2)
    first, second = read_phantom_pairs(tmp_path)
    assert (first.patient, second.patient) == ("patient-000000", "patient-000001")
    assert first.masks["left_lung"].sum() == 10 * 32
    assert second.masks["left_lung"].sum() == 11 * 32
    assert first.translated.min() == -1
    assert first.translated.max() == 1
    assert not np.array_equal(first.source, first.translated)


def test_a_drr_without_its_film_is_refused(tmp_path):
    write_phantom(tmp_path, films=1)
    with pytest.raises(DatasetFolderError, match="a DRR without its film"):
        list(read_phantom_pairs(tmp_path))
