"""Cheating translators end to end: each is exposed for what it changed, and the honest one is certified."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from medi2i.errors import InterruptedRunError
from medi2i.evaluation.controls import Pair, positive_controls
from medi2i.evaluation.verdict import Controls
from medi2i.preservation import CERTIFICATE, measure_preservation
from medi2i.training.interruption import StopRequest
from tests.evaluation.controls.chests import SIDE, chest
from tests.preservation.chest_domains import CONFIG, SEEDS, STRUCTURES

HONEST, MOVES_HEART, DROPS_RIB, INVERTS = (f"source-{number:04d}" for number in range(len(SEEDS)))


def move_heart(pair: Pair) -> np.ndarray:
    """The heart moves 4 px, whole, and what is around it gives way within some 10 px."""
    moving = np.clip(1 - ndimage.distance_transform_edt(~pair.masks["heart"]) / 12, 0, 1)
    rows, columns = np.indices(pair.source.shape)
    return ndimage.map_coordinates(pair.translated, [rows, columns + 4 * moving], order=1, mode="nearest")


def cheat() -> dict[str, np.ndarray]:
    """One translation a source image."""
    pairs = [chest(seed) for seed in SEEDS]
    drop = positive_controls(CONFIG.controls)["dropped_rib"](pairs[2], np.random.default_rng(3))
    return {
        HONEST: pairs[0].translated,
        MOVES_HEART: move_heart(pairs[1]),
        DROPS_RIB: drop.translated,
        INVERTS: -pairs[3].translated,
    }


@pytest.fixture(scope="module")
def measured(chest_domains, controls, tmp_path_factory) -> tuple[Mapping[str, Any], dict, Any]:
    """Section, rows of the certificate by image and structure, run folder."""
    out = tmp_path_factory.mktemp("run")
    images = cheat()
    section = measure_preservation(
        chest_domains, lambda image: images[image.row.id], controls, out=out, config=CONFIG
    )
    lines = (out / CERTIFICATE).read_text(encoding="utf-8").splitlines()
    rows = {(row["id"], row["structure"]): row for row in map(json.loads, lines)}
    assert len(rows) == len(lines) == len(SEEDS) * len(STRUCTURES)
    return section, rows, out


def test_an_honest_translation_is_certified_for_every_structure(measured):
    rows = measured[1]
    for structure in STRUCTURES:
        row = rows[HONEST, structure]
        assert (row["preserved"], row["by"], row["unit"]) == (True, "geometry", "px"), row
        assert row["score"] < row["threshold"]
        assert "5 other patients (drawn chests)" in row["calibrated_on"]


def test_a_heart_moved_by_4_px_is_not_certified_for_the_heart(measured):
    row = measured[1][MOVES_HEART, "heart"]
    assert (row["preserved"], row["by"]) == (False, "geometry")
    assert 2 < row["score"] < 5
    assert row["score"] > row["threshold"]


def test_a_dropped_rib_is_not_certified_for_the_ribs_and_the_heart_is(measured):
    rows = measured[1]
    assert (rows[DROPS_RIB, "ribs"]["preserved"], rows[DROPS_RIB, "ribs"]["by"]) == (False, "content")
    assert rows[DROPS_RIB, "spine"]["preserved"] is True


def test_nothing_of_an_inverted_image_is_certified(measured):
    for structure in STRUCTURES:
        row = measured[1][INVERTS, structure]
        assert (row["preserved"], row["by"]) == (False, "sanity")
        assert "inverted" in row["reason"]


def test_the_section_counts_what_the_certificate_says(measured):
    section, rows, _ = measured
    heart = next(one for one in section["structures"] if one["name"] == "heart")
    kept = [row["preserved"] for (_, structure), row in rows.items() if structure == "heart"]
    assert (heart["n"], heart["kept"]) == (4, sum(kept))
    assert heart["share"]["low"] < heart["kept"] / 4 < heart["share"]["high"]
    assert section["unit"] == "mm"
    assert (section["n_images"], section["n_patients"]) == (4, 4)
    sanity = next(one for one in section["instruments"] if one["name"] == "sanity")
    assert (sanity["n"], sanity["flagged"]) == (4, 1)
    images = {image["id"]: image for image in section["images"]}
    assert images[HONEST]["flags"] == images[INVERTS]["flags"] == []
    assert "geometry" in images[MOVES_HEART]["flags"]
    assert "content" in images[DROPS_RIB]["flags"]


def test_displacement_in_millimetres_is_that_in_pixels_times_the_spacing(measured):
    section, rows, _ = measured
    heart = next(one for one in section["structures"] if one["name"] == "heart")
    largest = heart["deformation_max"]
    assert largest["n_images"] + largest["n_undefined"] == 4
    # two millimetres a pixel, one image moved by 4 px: their mean is above a quarter of that
    assert heart["deformation_p95"]["estimate"] > 2 * rows[MOVES_HEART, "heart"]["score"] / 4


def test_the_worst_images_are_drawn_the_furthest_first(measured):
    section, _, out = measured
    assert len(section["worst"]) == 2
    assert (section["worst"][0]["id"], section["worst"][0]["by"]) == (INVERTS, "sanity")
    assert section["worst"][1]["id"] in {MOVES_HEART, DROPS_RIB}
    for row in section["worst"]:
        with Image.open(out / row["picture"]) as picture:
            assert picture.size == (2 * SIDE, SIDE)
        for name in ("heat_map", "content_map"):
            with Image.open(out / row[name]) as drawn:
                colours = np.asarray(drawn.convert("RGB")).reshape(-1, 3)
                assert len(np.unique(colours, axis=0)) > 300


def test_controls_that_did_not_pass_certify_nothing(chest_domains, controls, tmp_path):
    failed = Controls("failed", ("warp_1_px: area under the ROC curve 0.80, 95% needed",))
    doubtful = replace(controls, judgement=replace(controls.judgement, controls=failed))
    one = replace(chest_domains, source=chest_domains.source[:1])
    film = chest(SEEDS[0]).translated
    measure_preservation(one, lambda image: film, doubtful, out=tmp_path, config=CONFIG)
    rows = [json.loads(line) for line in (tmp_path / CERTIFICATE).read_text(encoding="utf-8").splitlines()]
    assert {row["preserved"] for row in rows} == {None}
    assert all(row["reason"].startswith("controls failed: warp_1_px") for row in rows)


def test_images_without_masks_get_one_row_for_the_whole_image(chest_domains, controls, tmp_path):
    bare = replace(chest_domains.source[0], mask=None, structures=(), spacing_mm=None)
    one = replace(chest_domains, source=[bare])
    film = chest(SEEDS[0]).translated
    section = measure_preservation(one, lambda image: film, controls, out=tmp_path, config=CONFIG)
    row = json.loads((tmp_path / CERTIFICATE).read_text(encoding="utf-8"))
    assert (row["structure"], row["preserved"], row["by"]) == ("whole image", True, "geometry")
    assert section["unit"] == "px"
    told = {one["name"]: (one["n"], one["undefined"]) for one in section["instruments"]}
    # content is calibrated on lung, outlines need masks
    assert (told["geometry"], told["content"], told["labels"]) == ((1, 0), (0, 1), (0, 1))


def test_a_request_to_stop_leaves_no_half_certificate(chest_domains, controls, tmp_path):
    stop = StopRequest()
    stop.requested = True
    film = chest(SEEDS[0]).translated
    with pytest.raises(InterruptedRunError):
        measure_preservation(
            chest_domains, lambda image: film, controls, out=tmp_path, config=CONFIG, stop=stop
        )
    assert not (tmp_path / CERTIFICATE).exists()
