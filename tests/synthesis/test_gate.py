"""The gate: planted failures stay out, honest films get in, and thresholds are the run's own."""

from dataclasses import replace

import numpy as np
import pytest

from medi2i.data.manifest import ManifestRow
from medi2i.errors import CheckpointError
from medi2i.evaluation import NetworkImage, write_results
from medi2i.evaluation.controls import positive_controls, wiped
from medi2i.image import IntensityMap
from medi2i.preservation import compose_controls, restore_controls, score_image
from medi2i.synthesis.gate import Gate, for_structures, open_gate, outlines_not_judged
from tests.evaluation.controls.chests import SIDE, chest
from tests.preservation.chest_domains import CONFIG, make_controls
from tests.synthesis.sets import controls_section

ROW = ManifestRow("image", "source", "", "", "", SIDE, SIDE, IntensityMap(0.0, 1.0), 1.0)


@pytest.fixture(scope="module")
def gate() -> Gate:
    """Thresholds from honest films of five other chests."""
    return Gate(make_controls(), CONFIG)


def judge(gate, pair, **options):
    image = NetworkImage(ROW, pair.source, pair.valid)
    return gate.judge(image, np.asarray(pair.translated), pair.masks, **options)


def drop_rib(pair, rng):
    return positive_controls(CONFIG.controls)["dropped_rib"](pair, rng)


def warp(pair, rng):
    return positive_controls(CONFIG.controls)["warp_4_px"](pair, rng)


def flip(pair, rng):
    return positive_controls(CONFIG.controls)["flip"](pair, rng)


def insert_nodule(pair, rng):
    return positive_controls(CONFIG.controls)["inserted_nodule"](pair, rng)


@pytest.mark.parametrize(
    ("failure", "reasons"),
    [
        (drop_rib, {"content"}),
        (insert_nodule, {"content"}),
        (warp, {"geometry"}),
        (flip, {"orientation", "geometry"}),
        (lambda pair, rng: replace(pair, translated=-pair.translated), {"image sanity: inverted"}),
        (lambda pair, rng: wiped(pair, "constant"), {"image sanity: constant"}),
        (lambda pair, rng: wiped(pair, "empty"), {"image sanity: constant", "image sanity: empty"}),
    ],
    ids=["rib", "nodule", "warp", "flip", "inverted", "constant", "empty"],
)
def test_a_planted_failure_is_rejected_for_what_it_is(failure, reasons, gate):
    result = judge(gate, failure(chest(31), np.random.default_rng(31)))
    assert not result.passed
    assert result.reason in reasons


def test_honest_films_pass_with_their_scores(gate):
    for seed in (32, 33):
        result = judge(gate, chest(seed))
        assert (result.passed, result.reason) == (True, None), result
        assert result.facts["scores"]["geometry"] < gate.controls.thresholds["geometry"]
        assert result.facts["scores"]["labels"] is not None


def test_of_another_look_on_top_only_image_sanity_is_asked(gate):
    pair = chest(31)
    noisy = np.clip(pair.translated + np.random.default_rng(0).normal(size=pair.source.shape), -1, 1)
    assert judge(gate, pair, final=noisy.astype(np.float32)).passed
    blank = judge(gate, pair, final=np.zeros_like(pair.translated))
    assert (blank.passed, blank.reason) == (False, "image sanity: constant")
    assert blank.facts["flags"] == ["constant"]


def test_thresholds_come_back_from_results_as_they_were(tmp_path, gate):
    blocks = [{"unchanged": score_image(chest(seed), CONFIG)[0]} for seed in (20, 21)]
    before = compose_controls(blocks, [], config=CONFIG, kinds=frozenset({"lung", "rib"}), source="chests")
    written = write_results(tmp_path / "results.json", {"controls": before.section})["controls"]
    after, config = restore_controls(written)
    assert dict(after.thresholds) == pytest.approx(dict(before.thresholds))
    assert dict(after.structures) == pytest.approx(dict(before.structures))
    assert (after.kinds, after.side_px, after.source) == (before.kinds, SIDE, "chests")
    assert after.controls == before.controls
    assert after.calibrated_on == before.calibrated_on
    assert (config.instruments, config.margin_px) == (CONFIG.instruments, CONFIG.margin_px)


def test_a_kind_is_judged_no_stricter_than_whole_images(tmp_path):
    limits = {"heart": 0.3, "lung": 2.0}
    write_results(tmp_path / "results.json", {"controls": controls_section(structure_thresholds=limits)})
    assert open_gate(tmp_path).controls.structures == {"heart": 1.0, "lung": 2.0}


def test_outlines_are_not_judged_by_a_threshold_of_other_structures(tmp_path):
    write_results(tmp_path / "results.json", {"controls": controls_section()})
    gate = open_gate(tmp_path)
    assert not outlines_not_judged(for_structures(gate, ("left_lung", "heart", "tumour")))
    assert outlines_not_judged(for_structures(gate, ("left_lung", "right_lung")))


def test_damaged_controls_are_told(tmp_path):
    section = controls_section()
    del section["thresholds"]
    write_results(tmp_path / "results.json", {"controls": section})
    with pytest.raises(CheckpointError, match="no readable controls"):
        open_gate(tmp_path)
