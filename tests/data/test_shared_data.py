"""The shared real data load as they stand (skipped where they are not)."""

import numpy as np

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import inspect_folder, load_masks
from medi2i.image import IntensityConfig

ORGANS = ("left_lung", "right_lung", "heart", "left_clavicle", "right_clavicle", "spine", "ribs")


def test_drr_chest_loads_as_it_stands(shared_data):
    folder = discover(shared_data / "drr_chest")
    assert folder == discover(shared_data / "drr_chest" / "images")
    assert len(folder.items) == 48
    assert folder.structures == ORGANS
    assert {item.patient for item in folder.items} == {"lidc_1"}
    assert {(item.spacing_mm, item.spacing_origin) for item in folder.items} == {((1.6, 1.6), "detector")}
    item = folder.items[0]
    masks = load_masks(item.mask, folder.structures, (256, 256))
    # the areas that views.json states for the first view
    areas = dict(zip(ORGANS, masks.sum(axis=(1, 2)), strict=True))
    assert (areas["left_lung"], areas["heart"], areas["ribs"]) == (12115, 5256, 14916)


def test_a_few_images_of_drr_chest_are_inspected(shared_data):
    folder = discover(shared_data / "drr_chest")
    few = type(folder)(folder.root, folder.items[:2], folder.structures)
    rows, skipped = inspect_folder(few, "source", IntensityConfig(), salt=b"salt")
    assert skipped == []
    assert [(row.rows, row.columns, row.bits_stored) for row in rows] == [(256, 256, 16)] * 2
    assert rows[0].patient == rows[1].patient != "lidc_1"


def test_xray_radiologist_masks_load_as_they_stand(shared_data):
    folder = discover(shared_data / "xray_radiologist_masks")
    assert folder.has_masks
    assert len(folder.structures) >= 2
    assert all(item.patient and item.mask.is_dir() for item in folder.items)
    few = type(folder)(folder.root, folder.items[:2], folder.structures)
    rows, skipped = inspect_folder(few, "target", IntensityConfig(), salt=b"salt")
    assert skipped == []
    for row, item in zip(rows, few.items, strict=True):
        masks = load_masks(item.mask, row.structures, (row.rows, row.columns))
        assert masks.dtype == np.bool_
        assert masks.any()


def test_xray_nih_loads_as_it_stands(shared_data):
    whole = discover(shared_data / "xray_nih")
    assert whole == discover(shared_data / "xray_nih" / "images")
    assert len(whole.items) > 50
    assert not whole.has_masks
    assert len({item.patient for item in whole.items}) > 50
    assert {item.spacing_origin for item in whole.items} == {"unknown"}
