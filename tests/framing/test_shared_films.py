"""Real films against a DRR of another patient (skipped where the shared data are not)."""

import numpy as np
from scipy import ndimage

from medi2i.framing.estimation import estimate_frame
from medi2i.framing.template import Template
from medi2i.io import read_radiograph
from medi2i.io.masks import read_mask_folder, read_mask_nifti

ORGANS = ("left_lung", "right_lung", "heart", "left_clavicle", "right_clavicle", "spine", "ribs")
FILMS = ("xr_003", "xr_010")
# 1.6 mm on the detector; source to detector 1800 mm, to the patient about 1490 mm
SPACING_MM = 1.6 * 1490 / 1800


def find_upper_box(lungs: np.ndarray) -> np.ndarray:
    """Top row, first and last column of a lung mask: the lower end is defined otherwise in films and DRRs."""
    rows, columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
    return np.array([rows[0], columns[0], columns[-1]], dtype=float)


def test_a_drrs_lungs_lie_on_a_films_lungs_through_the_estimated_frame(shared_data):
    drr = read_radiograph(shared_data / "drr_chest" / "images" / "drr_009.png")
    lungs = read_mask_nifti(shared_data / "drr_chest" / "masks" / "drr_009.nii.gz", ORGANS)[:2].any(axis=0)
    template = Template(drr.pixels, (SPACING_MM, SPACING_MM), (127.5, 127.5), drr.valid)
    for name in FILMS:
        film = read_radiograph(shared_data / "xray_radiologist_masks" / "images" / f"{name}.png")
        found = estimate_frame(film.pixels, film.valid, template)
        assert found.accepted, name
        folder = shared_data / "xray_radiologist_masks" / "masks" / name
        truth = read_mask_folder(folder, ("left_lung", "right_lung"))[1].any(axis=0)
        rows, columns = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in truth.shape), indexing="ij")
        points = template.to_pixels(*found.placement.to_patient(rows, columns))
        moved = ndimage.map_coordinates(lungs.astype(float), points, order=1) > 0.5
        # another patient's lungs: their sides and top within 8 % of the lungs' width
        box = find_upper_box(truth)
        off = np.abs(find_upper_box(moved) - box) / (box[2] - box[1])
        assert off.max() < 0.08, (name, off)
