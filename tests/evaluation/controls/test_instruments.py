"""Each instrument sees what it is for, and neither tone, noise, blur nor inversion."""

import math

import numpy as np
import pytest
from scipy import ndimage

from medi2i.evaluation.controls import (
    ControlsConfig,
    Pair,
    clear_lung,
    label_misfit,
    measure_content,
    mirrored_agreement,
    negative_controls,
    positive_controls,
)
from medi2i.evaluation.controls.ribs import paint_over
from tests.evaluation.controls.chests import chest

CONFIG = ControlsConfig(nodule_radius_px=(4.0, 6.0), rib_length_px=48)
STYLES, CHANGES = negative_controls(CONFIG), positive_controls(CONFIG)


def content_of(pair: Pair):
    return measure_content(pair.source, pair.translated, valid=pair.valid, region=clear_lung(pair))


@pytest.fixture(scope="module", params=[0, 1])
def pair(request) -> Pair:
    return chest(request.param)


@pytest.mark.parametrize("name", sorted(STYLES))
def test_style_leaves_nothing_unexplained(pair, name):
    assert content_of(STYLES[name](pair, np.random.default_rng(0))).largest < 8


@pytest.mark.parametrize("name", ["dropped_rib", "inserted_nodule", "removed_nodule"])
def test_what_was_put_in_or_taken_out_stands_out(pair, name):
    assert content_of(CHANGES[name](pair, np.random.default_rng(0))).largest > 9


def test_a_large_piece_that_was_painted_over_is_not_its_own_measure():
    # it fills the calmest bins of what is left over: if they were to widen all others, 4 would be found
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.normal(size=(128, 128)), 2.5)
    film = texture / texture.std() + 0.05 * rng.normal(size=texture.shape)
    piece = np.zeros(film.shape, dtype=bool)
    piece[40:104, 50:114] = True
    valid = np.ones_like(piece)
    assert measure_content(texture, film, valid=valid).largest < 8
    assert measure_content(texture, paint_over(film, piece), valid=valid).largest > 40


def test_an_inserted_nodule_stands_out_where_it_is_and_is_brighter(pair):
    found = CHANGES["inserted_nodule"](pair, np.random.default_rng(5))
    middle = np.array(np.unravel_index((found.translated - pair.translated).argmax(), pair.source.shape))
    z = content_of(found).z
    place = np.array(np.unravel_index(np.abs(z).argmax(), z.shape))
    assert np.hypot(*(place - middle)) < 4
    assert z.max() == np.abs(z).max()


def test_inversion_turns_the_sign_of_content_and_nothing_else(pair):
    found = CHANGES["inserted_nodule"](pair, np.random.default_rng(5))
    upright = content_of(found)
    inverted = measure_content(found.source, -found.translated, valid=pair.valid, region=clear_lung(pair))
    assert np.allclose(upright.z, -inverted.z, atol=1e-3)


def test_content_is_judged_away_from_what_is_no_image(pair):
    valid = pair.valid.copy()
    valid[:, :40] = False
    wiped = np.where(valid, pair.translated, 1.0)
    found = measure_content(pair.source, wiped, valid=valid)
    assert not found.counted[:, :44].any()
    assert found.counted[:, 52:-8].all()
    other = measure_content(pair.source, np.where(valid, pair.translated, -1.0), valid=valid)
    assert np.array_equal(found.z, other.z)


def test_content_is_undefined_without_contrast_or_region():
    flat, image = np.zeros((64, 64)), np.random.default_rng(0).normal(size=(64, 64))
    valid = np.ones((64, 64), dtype=bool)
    assert math.isnan(measure_content(image, flat, valid=valid).largest)
    assert math.isnan(measure_content(image, np.full_like(image, np.nan), valid=valid).largest)
    assert math.isnan(measure_content(image, image, valid=valid, region=~valid).largest)
    assert math.isnan(measure_content(image, image, valid=~valid).largest)


def test_an_image_agrees_with_itself_and_its_mirror_image_with_its_mirror_image(pair):
    direct = mirrored_agreement(pair.source, pair.source, pair.valid)
    mirrored = mirrored_agreement(pair.source, pair.source[:, ::-1], pair.valid)
    assert direct < -0.1
    assert mirrored == pytest.approx(-direct)


def test_orientation_of_a_symmetric_image_cannot_be_told():
    rows, columns = np.mgrid[:40, :41]
    symmetric = np.exp(-((rows - 15) ** 2 + (columns - 20) ** 2) / 50)
    valid = np.ones(symmetric.shape, dtype=bool)
    assert mirrored_agreement(symmetric, symmetric, valid) == pytest.approx(0, abs=1e-9)
    assert math.isnan(mirrored_agreement(symmetric, np.zeros_like(symmetric), valid))


def test_outlines_of_the_image_fit_and_those_of_another_place_do_not():
    square = np.zeros((80, 80), dtype=bool)
    square[20:60, 25:55] = True
    valid = np.ones_like(square)
    own = label_misfit(square.astype(float), {"organ": square}, valid)
    moved = label_misfit(square.astype(float), {"organ": np.roll(square, 6, axis=(0, 1))}, valid)
    assert own < 0.55
    assert moved > own + 0.25
    assert label_misfit(-square.astype(float), {"organ": square}, valid) == pytest.approx(own)


def test_labels_are_undefined_without_masks_edges_or_room():
    square = np.zeros((80, 80), dtype=bool)
    square[20:60, 25:55] = True
    valid = np.ones_like(square)
    assert math.isnan(label_misfit(square.astype(float), {}, valid))
    assert math.isnan(label_misfit(np.zeros((80, 80)), {"organ": square}, valid))
    dot = np.zeros_like(square)
    dot[40, 40] = True
    assert math.isnan(label_misfit(square.astype(float), {"dot": dot}, valid))


def test_labels_of_other_patients_fit_worse(pair):
    own = label_misfit(pair.translated, pair.masks, pair.valid)
    others = [label_misfit(pair.translated, chest(seed).masks, pair.valid) for seed in (3, 7, 10, 11)]
    assert min(others) > own
    assert np.mean(others) > own + 0.05
