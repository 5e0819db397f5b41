"""Controls change what they say, by as much as they say, and nothing else."""

import numpy as np
import pytest
from scipy import ndimage

from medi2i.evaluation.controls import ControlsConfig, Pair, clear_lung, negative_controls, positive_controls
from medi2i.evaluation.controls.perturbations import smooth_field
from medi2i.evaluation.controls.ribs import find_rib_piece, paint_over
from tests.evaluation.controls.chests import chest

CONFIG = ControlsConfig(nodule_radius_px=(5.0, 5.0), nodule_contrast=0.2, rib_length_px=48)
ALL = {**negative_controls(CONFIG), **positive_controls(CONFIG)}


@pytest.fixture(scope="module")
def pair() -> Pair:
    return chest(0)


@pytest.mark.parametrize("rms_px", [1.0, 4.0])
def test_a_warps_root_mean_square_length_is_what_was_asked(rms_px):
    field = smooth_field((96, 80), rms_px, 12.0, np.random.default_rng(0))
    assert np.sqrt((field**2).sum(axis=0).mean()) == pytest.approx(rms_px)
    # smooth: neighbours move alike
    assert np.abs(np.diff(field, axis=1)).max() < 0.3 * rms_px


def test_a_region_of_a_plane_is_painted_over_with_the_plane():
    rows, columns = np.mgrid[:30, :40]
    plane = 0.3 * rows - 0.1 * columns
    region = (rows > 8) & (rows < 20) & (columns > 5) & (columns < 30)
    painted = paint_over(np.where(region, 99.0, plane), region)
    assert np.allclose(painted, plane)


def test_a_region_that_is_touched_by_one_value_gets_it_up_to_the_border():
    image = np.full((12, 12), 0.5)
    region = np.zeros((12, 12), dtype=bool)
    region[:5, :5] = True
    image[region] = -3
    assert np.allclose(paint_over(image, region), 0.5)


def test_nothing_to_paint_over_leaves_the_image():
    image = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(paint_over(image, np.zeros((3, 4), dtype=bool)), image)


def test_a_piece_of_a_straight_rib_has_its_length_and_width():
    rows, _ = np.mgrid[:60, :100]
    rib = np.abs(rows - 30) <= 3
    everywhere = np.ones_like(rib)
    rng = np.random.default_rng(3)
    piece = find_rib_piece(rib, everywhere, length_px=40, margin_px=1.0, rng=rng)
    extent = np.ptp(np.argwhere(piece), axis=0) + 1
    assert (
        25 <= extent[1] <= 52
    )  # 40 px and a round end on either side; less where a walk begins at the border
    assert 8 <= extent[0] <= 12  # 7 px and the margin on either side


def test_without_ribs_there_is_no_piece():
    empty, everywhere = np.zeros((40, 40), dtype=bool), np.ones((40, 40), dtype=bool)
    piece = find_rib_piece(empty, everywhere, length_px=40, margin_px=1, rng=np.random.default_rng(0))
    assert not piece.any()


def test_an_inserted_nodule_is_a_ball_of_the_stated_size_and_contrast(pair):
    found = ALL["inserted_nodule"](pair, np.random.default_rng(2))
    added = found.translated - pair.translated
    low, high = np.percentile(pair.translated, [1, 99])
    # the middle of a chord of 10 px, blurred by 0.7 px
    assert added.max() == pytest.approx(0.2 * (high - low), rel=0.04)
    assert (added > 0.001).sum() == pytest.approx(np.pi * 6**2, rel=0.2)
    assert clear_lung(pair)[np.unravel_index(added.argmax(), added.shape)]
    assert found.source is pair.source


def test_a_removed_nodule_is_in_the_source_alone(pair):
    found = ALL["removed_nodule"](pair, np.random.default_rng(2))
    assert found.translated is pair.translated
    assert (found.source > pair.source + 0.01).any()


def test_a_dropped_rib_changes_the_translation_near_ribs_only(pair):
    found = ALL["dropped_rib"](pair, np.random.default_rng(1))
    changed = np.abs(found.translated - pair.translated) > 0
    near = ndimage.binary_dilation(pair.masks["ribs"], iterations=6)
    assert 100 < changed.sum() < 0.1 * changed.size
    assert (changed & ~near).sum() == 0


def test_flipped_twice_is_the_same(pair):
    rng = np.random.default_rng(0)
    assert np.array_equal(ALL["flip"](ALL["flip"](pair, rng), rng).translated, pair.translated)


def test_radii_ascend():
    with pytest.raises(ValueError, match="the smaller radius comes first"):
        ControlsConfig(nodule_radius_px=(6, 5))


def test_noise_has_the_stated_strength(pair):
    added = ALL["noise"](pair, np.random.default_rng(0)).translated - pair.translated
    low, high = np.percentile(pair.translated, [1, 99])
    assert added.std() == pytest.approx(CONFIG.noise * (high - low), rel=0.03)


@pytest.mark.parametrize("name", ["gamma", "tone_curve"])
def test_tones_keep_their_order_and_range(pair, name):
    found = ALL[name](pair, np.random.default_rng(0)).translated
    order = np.argsort(pair.translated, axis=None)
    assert (np.diff(found.ravel()[order]) >= -1e-6).all()
    assert np.abs(found).max() <= 1 + 1e-6


@pytest.mark.parametrize("name", sorted(ALL))
def test_controls_leave_what_they_are_given_and_draw_the_same_twice(pair, name):
    before = pair.source.copy(), pair.translated.copy()
    first, second = (ALL[name](pair, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.translated, second.translated)
    assert np.array_equal(first.source, second.source)
    assert np.array_equal(pair.source, before[0])
    assert np.array_equal(pair.translated, before[1])


@pytest.mark.parametrize("name", ["dropped_rib", "inserted_nodule", "removed_nodule"])
def test_what_is_not_there_is_not_changed(pair, name):
    without = Pair(pair.source, pair.translated, pair.valid, {}, "p")
    assert ALL[name](without, np.random.default_rng(0)) is None


def lung_beside_heart(first_column: int) -> np.ndarray:
    """Clear lung of 50 rows, from column 5 to where the heart begins, row 5 to 54."""
    heart, lung = np.zeros((2, 60, 60), dtype=bool)
    lung[5:55, 5:55] = True
    heart[:, first_column:] = True
    image, valid = np.zeros((60, 60)), np.ones((60, 60), dtype=bool)
    return clear_lung(Pair(image, image, valid, {"a lung": lung, "heart": heart}, "p"))


def test_clear_lung_leaves_out_what_lies_behind_the_heart():
    found = lung_beside_heart(35)
    # two pixels within its outline
    assert np.flatnonzero(found[30]).tolist() == list(range(7, 33))
    assert np.flatnonzero(found[:, 20]).tolist() == list(range(7, 53))
    # a disc of 19 pixels doesn't reach into the corner
    assert not found[7, 7]


def test_slivers_of_lung_are_not_clear():
    assert lung_beside_heart(24).any()  # 19 columns
    assert not lung_beside_heart(23).any()  # 18
