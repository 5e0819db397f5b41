"""The trial of the instruments: which pairs, kept on disk, and stopped and resumed."""

from dataclasses import replace

import numpy as np
import pytest

from medi2i.errors import InterruptedRunError, UsageError
from medi2i.evaluation.controls import PairScores
from medi2i.preservation import PreservationConfig, ScoredImage, StructureScores, compose_controls
from medi2i.preservation import controls as trial
from medi2i.preservation.pairs import own_pairs, own_rows
from medi2i.training.interruption import StopRequest
from tests.preservation.chest_domains import CONFIG, SEEDS

SMALL = PreservationConfig(side_px=64, calibration_patients=2, tested_patients=2)
STYLES = ("unchanged", "gamma", "inversion", "noise", "blur", "tone_curve")


def made_block(pair, other, config, *, seed, number, tested, tick):
    """Scores that depend on the pair alone."""
    tick()
    scores = {"geometry": 0.2 + 0.01 * number, "content": 5.0, "orientation": -0.4, "labels": 0.2}
    moved = StructureScores(0.1, 0.2 + 0.01 * number, 0.3, 5.0, 0.2)
    image = ScoredImage(PairScores(pair.patient, scores, ()), {"heart": moved})
    wiped = ScoredImage(PairScores(pair.patient, scores, ("inverted",)), {"heart": moved})
    return dict.fromkeys(STYLES, image) | {"inversion": wiped}


@pytest.fixture(scope="module")
def nobody(chest_domains):
    """The same images of unknown patients, who can't be their own control."""
    return replace(chest_domains, source=[replace(row, patient=None) for row in chest_domains.source])


@pytest.fixture
def scored(monkeypatch) -> list[int]:
    """Numbers of the pairs that are scored."""
    numbers: list[int] = []

    def score(pair, other, config, *, number, **rest):
        numbers.append(number)
        assert (other is None) == (not rest["tested"])
        assert other is None or other.patient != pair.patient
        return made_block(pair, other, config, number=number, **rest)

    monkeypatch.setattr(trial, "score_block", score)
    return numbers


def test_pairs_are_phantoms_and_what_is_scored_is_not_scored_again(nobody, scored, tmp_path):
    first = trial.judge_instruments(nobody, out=tmp_path, config=SMALL)
    assert sorted(scored) == [0, 1, 2, 3]
    assert first.section["source"] == "phantom patients, DRR beside true film, 64 px"
    assert (first.section["calibration_patients"], first.section["tested_patients"]) == (2, 2)
    (folder,) = (tmp_path / "evaluation" / "controls").iterdir()
    (folder / "pair-0002.json").unlink()
    scored.clear()
    again = trial.judge_instruments(nobody, out=tmp_path, config=SMALL)
    assert scored == [2]
    assert again.thresholds == pytest.approx(first.thresholds)
    # other strengths are another trial
    other = SMALL.model_copy(update={"margin_px": 4.0})
    scored.clear()
    trial.judge_instruments(nobody, out=tmp_path, config=other)
    assert sorted(scored) == [0, 1, 2, 3]


def test_two_patients_for_thresholds_are_underpowered_and_the_verdict_hears_so(nobody, scored, tmp_path):
    found = trial.judge_instruments(nobody, out=tmp_path, config=SMALL)
    assert found.controls.state == found.section["state"] == "underpowered"
    assert "2 patients for thresholds, 10 needed" in found.section["reasons"]


def test_a_request_to_stop_keeps_what_is_scored(nobody, monkeypatch, tmp_path):
    stop = StopRequest()

    def score(pair, other, config, *, number, **rest):
        stop.requested = number == 1
        if number > 1:
            rest["tick"]()
        return made_block(pair, other, config, number=number, **{**rest, "tick": lambda: None})

    monkeypatch.setattr(trial, "score_block", score)
    one = SMALL.model_copy(update={"workers": 1})
    with pytest.raises(InterruptedRunError):
        trial.judge_instruments(nobody, out=tmp_path, config=one, stop=stop)
    kept = {path.name for path in (tmp_path / "evaluation" / "controls").rglob("pair-*.json")}
    assert {"pair-0000.json", "pair-0001.json"} <= kept
    assert len(kept) < 4


def test_a_source_with_enough_patients_and_masks_is_its_own_control(chest_domains, nobody):
    enough = CONFIG.model_copy(update={"calibration_patients": 2, "tested_patients": 2})
    rows = own_rows(chest_domains, enough)
    assert len(rows) == len(SEEDS)
    assert own_rows(chest_domains, CONFIG) == []  # 34 are needed
    assert own_rows(nobody, enough) == []
    no_ribs = [replace(row, structures=("left_lung",)) for row in chest_domains.source]
    assert own_rows(replace(chest_domains, source=no_ribs), enough) == []


def test_the_film_that_physics_makes_of_a_source_moves_nothing(chest_domains):
    enough = CONFIG.model_copy(update={"calibration_patients": 2, "tested_patients": 2})
    pairs = own_pairs(chest_domains, own_rows(chest_domains, enough)[:2], enough, seed=0)
    again = own_pairs(chest_domains, own_rows(chest_domains, enough)[:2], enough, seed=0)
    for pair, same in zip(pairs, again, strict=True):
        assert np.array_equal(pair.translated, same.translated)
        assert not np.allclose(pair.translated, pair.source, atol=0.05)
        # edges lie where they lay: the best shift of the two is none
        agreement = {
            (down, right): np.corrcoef(
                *(
                    np.hypot(*np.gradient(p))[4:-4, 4:-4].ravel()
                    for p in (pair.source, np.roll(pair.translated, (down, right), (0, 1)))
                )
            )[0, 1]
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
        }
        assert max(agreement, key=agreement.__getitem__) == (0, 0)


def test_a_patient_on_both_sides_is_refused(controls):
    image = ScoredImage(PairScores("p", dict.fromkeys(controls.thresholds, 0.1), ()), {})
    block = dict.fromkeys(STYLES, image)
    with pytest.raises(UsageError, match="on both sides"):
        compose_controls([block], [block], config=CONFIG, kinds=frozenset(), source="made")
