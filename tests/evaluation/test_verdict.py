import math
from dataclasses import replace

import numpy as np
import pytest

from medi2i.errors import UsageError
from medi2i.evaluation.verdict import Controls, Evidence, ScoredRow, Verdict, headline, reach_verdict

PASSED = Controls("passed")
STRONG = frozenset({"framing", "randomisation", "mean_teacher"})


def noise(patients: int, seeds: int, key: int) -> np.ndarray:
    generator = np.random.default_rng(key)
    return generator.normal(0, 0.02, (patients, 1)) + generator.normal(0, 0.002, (patients, seeds))


def row(name: str, dice: float, *, adapter: bool = False, key: int = 0, **others) -> ScoredRow:
    patients, seeds = others.pop("patients", 60), others.pop("seeds", 3)
    scores = {
        "lungs": dice + noise(patients, seeds, key),
        "heart": dice - 0.1 + noise(patients, seeds, key + 9),
    }
    return ScoredRow(name, adapter, "film", "folds-1", scores, **others)


def evidence(gain: float, **others) -> Evidence:
    """A mean teacher on framing at .90, weaker rows below it, and the adapter on top of it."""
    size = {name: others.pop(name) for name in ("patients", "seeds") if name in others}
    rows = [
        row("source-only", 0.75, key=1, **size),
        row("framing + randomisation", 0.87, key=2, techniques=STRONG - {"mean_teacher"}, **size),
        row("+ mean teacher", 0.90, key=3, techniques=STRONG, **size),
        row("adapter + mean teacher", 0.90 + gain, adapter=True, key=4, base="+ mean teacher", **size),
    ]
    patients, seeds = rows[0].scores["lungs"].shape
    own = 0.3 + noise(patients, seeds, 5)
    return replace(Evidence(PASSED, rows, own, target_films_trainable=True), **others)


def test_a_gain_over_the_best_row_is_use():
    verdict = reach_verdict(evidence(0.05))
    assert (verdict.name, verdict.better_row, verdict.cautions) == ("use", None, ())
    assert (verdict.adapter_row, verdict.best_row) == ("adapter + mean teacher", "+ mean teacher")
    assert verdict.difference.low > 0
    assert verdict.reason.startswith(
        "'adapter + mean teacher' against '+ mean teacher', the best row without"
    )


def test_a_loss_is_do_not_translate_and_names_the_better_row():
    verdict = reach_verdict(evidence(-0.05, transductive=True))
    assert (verdict.name, verdict.better_row) == ("do not translate", "+ mean teacher")
    assert "Transductive: test films were seen in training" in verdict.reason


def test_no_measurable_difference_cannot_tell():
    verdict = reach_verdict(evidence(0.0))
    assert (verdict.name, verdict.better_row) == ("cannot tell", None)
    assert "the interval holds 0" in verdict.reason
    assert verdict.difference.low < 0 < verdict.difference.high


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"patients": 49}, "Exploratory: 49 patients, fewer than 50."),
        ({"transductive": True}, "Transductive: test films were seen in training, without labels."),
        ({"warnings": ("Two images are flagged.",)}, "Two images are flagged."),
    ],
)
def test_a_caution_makes_it_use_with_care(others, said):
    verdict = reach_verdict(evidence(0.05, **others))
    assert (verdict.name, verdict.cautions) == ("use with care", (said,))
    assert verdict.reason.endswith(said)


def test_a_structure_that_loses_is_a_caution():
    given = evidence(0.08)
    adapter = given.rows[-1]
    heart = given.rows[-2].scores["heart"] - 0.03
    rows = [*given.rows[:-1], replace(adapter, scores=adapter.scores | {"heart": heart})]
    verdict = reach_verdict(replace(given, rows=rows))
    assert verdict.name == "use with care"
    assert verdict.cautions == ("heart loses: -0.030 [-0.030, -0.030].",)


@pytest.mark.parametrize("gain", [-0.05, 0.05])
def test_failed_controls_are_invalid_whatever_the_numbers(gain: float):
    controls = Controls("failed", ("a warp of 1 px has AUC 0.90", "noise is flagged in 12 %"))
    verdict = reach_verdict(evidence(gain, controls=controls))
    assert verdict == Verdict(
        "INVALID",
        "The instruments failed their controls: a warp of 1 px has AUC 0.90; noise is flagged in 12 %.",
    )


def test_underpowered_controls_cannot_tell_whatever_the_numbers():
    for gain in (-0.05, 0.05):
        verdict = reach_verdict(evidence(gain, controls=Controls("underpowered", ("4 phantom patients",))))
        assert (verdict.name, verdict.reason) == ("cannot tell", "Controls underpowered: 4 phantom patients.")


def test_without_target_labels_nothing_can_be_told():
    for given in (evidence(0.05, rows=[]), evidence(0.05, own_minus_other=None)):
        verdict = reach_verdict(given)
        assert verdict.name == "cannot tell"
        assert "There are no target labels" in verdict.reason


@pytest.mark.parametrize("gain", [-0.05, 0.05])
def test_fewer_than_three_seeds_cannot_tell(gain: float):
    verdict = reach_verdict(evidence(gain, seeds=2))
    assert verdict.name == "cannot tell"
    assert "3 seeds are needed, 2 measured" in verdict.reason


def test_one_patient_cannot_tell():
    assert reach_verdict(evidence(0.05, patients=1)).name == "cannot tell"


def test_rows_on_other_labels_or_folds_are_not_compared():
    given = evidence(0.05)
    for change in ({"labels": "projected"}, {"folds": "folds-2"}):
        rows = [*(replace(one, **change) for one in given.rows[:-1]), given.rows[-1]]
        verdict = reach_verdict(replace(given, rows=rows))
        assert verdict.name == "cannot tell"
        assert "same labels and folds" in verdict.reason
        # the best comparable row is compared, and the one with other labels is not
        verdict = reach_verdict(replace(given, rows=[*rows[:1], *given.rows[1:]]))
        assert (verdict.name, verdict.best_row) == ("use", "+ mean teacher")


def test_a_strong_row_that_was_not_measured_leaves_a_gain_open_but_not_a_loss():
    for trainable, techniques in ((True, "framing + mean teacher + randomisation"), (False, None)):
        given = evidence(0.05, target_films_trainable=trainable)
        kept = [*given.rows[:2], given.rows[-1]]
        verdict = reach_verdict(replace(given, rows=kept))
        assert verdict.name == ("cannot tell" if trainable else "use")
        assert techniques is None or f"no row without the adapter has {techniques}" in verdict.reason
    loss = evidence(-0.20)
    assert reach_verdict(replace(loss, rows=[*loss.rows[:2], loss.rows[-1]])).name == "do not translate"


def test_the_adapter_on_top_of_the_best_row_is_the_one_that_counts():
    given = evidence(0.0)
    lucky = row("adapter alone", 0.95, adapter=True, key=6, base="source-only")
    verdict = reach_verdict(replace(given, rows=[*given.rows, lucky]))
    assert (verdict.name, verdict.adapter_row) == ("cannot tell", "adapter + mean teacher")


def test_candidates_share_the_level_where_none_is_on_top_of_the_best_row():
    given = evidence(0.05)
    others = [replace(given.rows[-1], name=f"adapter {n}", base="source-only") for n in range(3)]
    one = reach_verdict(replace(given, rows=[*given.rows[:-1], others[0]])).difference
    three = reach_verdict(replace(given, rows=[*given.rows[:-1], *others])).difference
    assert three.estimate == one.estimate
    assert three.high - three.low > 1.1 * (one.high - one.low)


def test_the_headline_is_the_mean_over_defined_structures():
    scores = {
        "a": np.array([[0.2, math.nan]]),
        "b": np.array([[0.6, math.nan]]),
        "c": np.array([[math.nan] * 2]),
    }
    found = headline(ScoredRow("x", False, "film", "f", scores))
    assert found[0, 0] == pytest.approx(0.4)
    assert math.isnan(found[0, 1])


def test_rows_of_other_patients_or_structures_are_an_error():
    given = evidence(0.05)
    lungs = {"lungs": given.rows[0].scores["lungs"]}
    for wrong in (row("other", 0.8, patients=59), ScoredRow("other", False, "film", "folds-1", lungs)):
        with pytest.raises(UsageError, match="other structures, patients or seeds"):
            reach_verdict(replace(given, rows=[*given.rows, wrong]))


@pytest.mark.parametrize("patients", [6, 63])
def test_shuffled_labels_never_give_use(patients: int):
    # predictions are scored against another patient's labels, so own and other labels fit alike; the adapter
    # overlaps them better all the same, as blurred or larger masks do
    generator = np.random.default_rng(0)
    words = set()
    for _ in range(300):
        given = evidence(0.05, patients=patients)
        own = generator.normal(0, 0.1, (patients, 1)) + generator.normal(0, 0.02, (patients, 3))
        words.add(reach_verdict(replace(given, own_minus_other=own)).name)
    assert words == {"INVALID"}


def test_labels_that_fit_only_half_of_the_patients_are_not_valid():
    own = 0.3 + noise(60, 3, 5)
    own[:30] -= own[:30].mean()  # half of them are as good as shuffled
    verdict = reach_verdict(evidence(0.05, own_minus_other=own))
    assert verdict.name == "INVALID"
    assert "some may be shuffled" in verdict.reason


def test_images_that_lost_their_anatomy_are_not_to_be_used_whatever_the_gain():
    verdict = reach_verdict(evidence(0.05, destroyed=("heart is certified in 3 of 48 images.",)))
    assert verdict.name == "do not translate"
    assert verdict.reason == "The anatomy is not kept: heart is certified in 3 of 48 images."


def test_a_gain_of_networks_that_learned_hardly_anything_cannot_tell():
    rows = [
        row("framing + randomisation", 0.2, techniques=STRONG),
        row("adapter", 0.4, adapter=True, base="framing + randomisation", key=2),
    ]
    verdict = reach_verdict(evidence(0, rows=rows))
    assert verdict.name == "cannot tell"
    assert "0.35 itself: hardly anything was learned" in verdict.reason  # the mean of 0.4 and 0.3
