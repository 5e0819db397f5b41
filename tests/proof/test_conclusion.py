"""The verdict that a report shows comes from the numbers beside it."""

from typing import Any

import numpy as np
import pytest

from medi2i.downstream import DownstreamResult
from medi2i.evaluation.verdict import Controls, ScoredRow
from medi2i.proof.conclusion import conclude

PASSED = Controls("passed")
LUNG = {"name": "left_lung", "n": 40, "kept": 38}
KEPT = {"images": [{"sanity": []}] * 40, "structures": [LUNG]}
STRONG = frozenset({"framing", "randomisation", "mean_teacher"})
BEST, OURS = "framing + randomisation + mean teacher", "adapter + framing + randomisation + mean teacher"


def scores(mean: float, key: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(key)
    return {"left_lung": mean + generator.normal(0, 0.002, (60, 3))}


def table(gain: float, own_minus_other: float = 0.5) -> DownstreamResult:
    """Two rows of 60 patients and 3 seeds, the adapter's better by `gain`."""
    gap = {"estimate": 0.4, "low": 0.3, "high": 0.5, "refused": None, "n_patients": 60, "n_seeds": 3}
    facts: dict[str, Any] = {
        "rows": [
            {"name": BEST, "gap_closed": gap | {"estimate": 0.1}},
            {"name": OURS, "gap_closed": gap},
        ],
    }
    rows = (
        ScoredRow(BEST, False, "film", "folds", scores(0.8, 1), techniques=STRONG),
        ScoredRow(OURS, True, "film", "folds", scores(0.8 + gain, 2), base=BEST, techniques=STRONG),
    )
    return DownstreamResult(facts, rows, np.full((60, 3), own_minus_other), True, False)


def test_a_gain_gives_use_and_the_gap_of_the_adapters_row():
    found = conclude(PASSED, KEPT, table(0.05))
    assert (found["verdict"]["name"], found["valid"]) == ("use", True)
    assert found["verdict"]["adapter_row"] == OURS
    assert found["verdict"]["difference"]["estimate"] == pytest.approx(0.05, abs=0.001)
    assert found["gap_closed"] == {
        "row": OURS,
        "estimate": 0.4,
        "low": 0.3,
        "high": 0.5,
        "refused": None,
        "n_patients": 60,
        "n_seeds": 3,
    }


@pytest.mark.parametrize(
    ("changed", "caution"),
    [
        ({"structures": [LUNG | {"kept": 37}]}, "left_lung is certified in 37 of 40 images."),
        (
            {"images": [{"sanity": ["inverted"]}, *KEPT["images"][1:]]},
            "1 of 40 images are inverted, constant or empty.",
        ),
    ],
)
def test_what_is_not_certified_makes_it_use_with_care(changed, caution):
    verdict = conclude(PASSED, KEPT | changed, table(0.05))["verdict"]
    assert (verdict["name"], verdict["cautions"]) == ("use with care", [caution])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"structures": [LUNG | {"kept": 19}]}, "left_lung is certified in 19 of 40 images."),
        ({"images": [{"sanity": ["empty"]}] * 40}, "40 of 40 images are inverted, constant or empty."),
    ],
)
def test_images_without_their_anatomy_are_refused(changed, reason):
    verdict = conclude(PASSED, KEPT | changed, table(0.05))["verdict"]
    assert (verdict["name"], verdict["reason"]) == (
        "do not translate",
        f"The anatomy is not kept: {reason}",
    )


def test_a_loss_names_the_better_row():
    verdict = conclude(PASSED, KEPT, table(-0.05))["verdict"]
    assert (verdict["name"], verdict["better_row"]) == ("do not translate", BEST)


def test_failed_controls_and_shuffled_labels_are_not_valid():
    for controls, own in ((Controls("failed", ("a warp of 1 px is not found",)), 0.5), (PASSED, -0.01)):
        found = conclude(controls, KEPT, table(0.05, own))
        assert (found["verdict"]["name"], found["valid"]) == ("INVALID", False)


def test_without_target_labels_nothing_is_said_of_usefulness():
    found = conclude(PASSED, KEPT, None)
    assert (found["verdict"]["name"], found["valid"], found["gap_closed"]) == ("cannot tell", True, None)
    assert "no target labels" in found["verdict"]["reason"]
