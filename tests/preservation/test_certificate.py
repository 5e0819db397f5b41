"""Each rule of the certificate on made scores, and thresholds of structures by hand."""

import json
import math
from dataclasses import replace

import pytest

from medi2i.evaluation.controls import PairScores
from medi2i.evaluation.verdict import Controls
from medi2i.preservation import ScoredImage, StructureScores, certify, kind_of, write_certificate
from medi2i.preservation.thresholds import dose_response, labels_threshold, structure_thresholds
from medi2i.preservation.trial import read_block, write_block

LIMITS = {"geometry": 1.0, "content": 10.0, "orientation": -0.2, "labels": 0.5}


def structure(p95: float = 0.5, content: float = 5.0, labels: float = 0.3) -> StructureScores:
    return StructureScores(p95 / 2, p95, 2 * p95, content, labels)


def whole(orientation: float = -0.4, sanity: tuple[str, ...] = (), labels: float = 0.3) -> PairScores:
    scores = {"geometry": 0.5, "content": 5.0, "orientation": orientation, "labels": labels}
    return PairScores("p", scores, sanity)


@pytest.fixture(scope="module")
def made(controls):
    """Thresholds of 1 px for images, 2 px for hearts."""
    return replace(controls, thresholds=LIMITS, structures={"heart": 2.0})


def judge(made, scores: StructureScores, name: str = "heart", image: PairScores | None = None):
    (row,) = certify("source-0001", image or whole(), {name: scores}, made)
    return row.preserved, row.by, row.score, row.threshold


def test_a_structure_below_its_thresholds_is_preserved_by_geometry(made):
    assert judge(made, structure(1.5)) == (True, "geometry", 1.5, 2.0)


def test_a_kind_that_no_control_has_gets_the_threshold_of_images_and_the_row_says_so(made):
    assert judge(made, structure(1.5), "scapula_left") == (False, "geometry", 1.5, 1.0)
    (row,) = certify("i", whole(), {"spleen": structure()}, made)
    assert row.calibrated_on.endswith("whole images: no control has this kind")


def test_the_instrument_furthest_above_its_threshold_decides(made):
    # 2.2 / 2 and 15 / 10
    assert judge(made, structure(2.2, content=15.0)) == (False, "content", 15.0, 10.0)


def test_masks_that_fit_badly_all_together_certify_nothing(made):
    assert judge(made, structure(), image=whole(labels=0.6)) == (False, "labels", 0.6, 0.5)
    # what moved is told first
    assert judge(made, structure(2.2), image=whole(labels=0.6))[1] == "geometry"


def test_what_can_not_be_followed_is_not_known(made):
    assert judge(made, structure(math.nan)) == (None, None, None, None)
    # lost content shows without anything to follow
    assert judge(made, structure(math.nan, content=15.0))[:2] == (False, "content")


def test_a_flipped_image_preserves_nothing(made):
    assert judge(made, structure(), image=whole(orientation=0.3)) == (False, "orientation", 0.3, 0.0)
    assert judge(made, structure(), image=whole(orientation=-0.1))[0] is True


def test_image_sanity_comes_before_everything(made):
    assert judge(made, structure(), image=whole(sanity=("inverted",))) == (False, "sanity", None, None)


@pytest.mark.parametrize("state", ["failed", "underpowered"])
def test_instruments_that_did_not_pass_know_nothing(made, state):
    doubtful = replace(made, judgement=replace(made.judgement, controls=Controls(state, ("why",))))
    (row,) = certify("i", whole(), {"heart": structure(9.0)}, doubtful)
    assert (row.preserved, row.reason) == (None, f"controls {state}: why")


def test_rows_are_one_json_object_a_line_without_nan(made, tmp_path):
    rows = certify("i", whole(), {"heart": structure(math.nan), "lung": structure()}, made)
    write_certificate(tmp_path / "c.jsonl", rows)
    lines = (tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["preserved"] for line in lines] == [None, True]
    assert json.loads(lines[0])["score"] is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("left_lung", "lung"),
        ("lung_upper_lobe_right", "lung"),
        ("ribs", "rib"),
        ("rib_left_4", "rib"),
        ("vertebrae_T5", "spine"),
        ("Heart", "heart"),
        ("cardiomediastinum", "mediastinum"),
        ("right_clavicle", "clavicle"),
        ("scapula_left", None),
        ("scribble", None),
    ],
)
def test_kinds_are_told_by_names(name, kind):
    assert kind_of(name) == kind


def block(patient: str, *images: dict[str, StructureScores]) -> dict[str, ScoredImage]:
    scores = {"geometry": 0.1 * len(images), "content": math.nan, "orientation": -0.4, "labels": 0.3}
    return {
        f"control {number}": ScoredImage(PairScores(patient, scores, ()), structures)
        for number, structures in enumerate(images)
    }


def test_a_structure_threshold_is_the_limit_of_each_patients_worst():
    blocks = [
        block(
            "a", {"left_lung": structure(0.1), "right_lung": structure(0.05)}, {"left_lung": structure(0.05)}
        ),
        block("b", {"left_lung": structure(0.1)}, {"left_lung": structure(0.2)}),
        block("c", {"right_lung": structure(0.4), "heart": structure(0.3)}),
    ]
    limits = structure_thresholds(blocks)
    # worst 0.1, 0.2, 0.4: Student's t of 2 degrees of freedom at 98 % is 4.8487
    assert limits["lung"] == pytest.approx(0.2 * 2 ** (4.8487 * math.sqrt(4 / 3)), rel=1e-4)
    # one patient alone has a heart
    assert "heart" not in limits


def test_outlines_are_judged_by_the_kinds_that_the_run_has():
    blocks = [
        block(name, {"left_lung": structure(labels=value), "heart": structure(labels=0.9)})
        for name, value in (("a", 0.0), ("b", 1.0), ("c", 2.0))
    ]
    expected = 1 + 4.8487 * math.sqrt(4 / 3)
    assert labels_threshold(blocks, frozenset({"lung"})) == pytest.approx(expected, rel=1e-4)
    assert labels_threshold(blocks, frozenset({"rib"})) == math.inf


def test_dose_response_gives_the_middle_of_defined_scores():
    blocks = [block("a", {}), block("b", {}, {}), block("c", {}, {}, {})]
    rows = {row["instrument"]: row for row in dose_response(blocks, [(2.0, "control 0")])}
    assert rows["geometry"]["warp_px"] == 2
    assert rows["geometry"]["median"] == pytest.approx(0.2)
    assert math.isnan(rows["content"]["median"])


def test_a_block_is_read_as_it_was_written(tmp_path):
    written = block("a", {"left_lung": structure(math.nan, labels=0.25)})
    write_block(tmp_path / "pair.json", written)
    read = read_block(tmp_path / "pair.json")["control 0"]
    assert (read.whole.patient, read.whole.sanity) == ("a", ())
    assert math.isnan(read.whole.scores["content"])
    assert math.isnan(read.structures["left_lung"].p95_px)
    assert read.structures["left_lung"].labels == 0.25
