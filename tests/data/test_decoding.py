import logging

import numpy as np
import pytest
import torch
from tiny_data import make_masks, make_scene, save_png, write_source

from medi2i.data.decoding import _without_plugin_message, decoded_images, resize, working_shape
from tests.data.images import FULL, STILL, load_domain, make_config


@pytest.mark.parametrize(
    ("matrix", "size", "expected"),
    [
        ((512, 256), 256, (256, 128)),
        ((100, 300), 64, (21, 64)),
        ((16, 16), 32, (32, 32)),
        ((7, 9), None, (7, 9)),
    ],
)
def test_the_longest_side_becomes_the_working_size(matrix, size, expected):
    assert working_shape(*matrix, size) == expected


def test_shrinking_averages_areas():
    image = torch.arange(16.0).reshape(1, 4, 4)
    torch.testing.assert_close(resize(image, (2, 2)), torch.tensor([[[2.5, 4.5], [10.5, 12.5]]]))
    assert resize(image, (4, 4)) is image


@pytest.mark.parametrize(
    ("framing", "matrix", "expected"),
    [
        (None, (64, 48), (32, 24)),
        (STILL, (64, 48), (64, 48)),
        (STILL, (40, 30), (40, 30)),
        (None, (16, 8), (32, 16)),
    ],
)
def test_images_are_decoded_at_working_scale_or_up_to_twice_for_framing(tmp_path, framing, matrix, expected):
    save_png(tmp_path / "x.png", make_scene(0, matrix))
    sample = load_domain(tmp_path, make_config(working_size=32, framing=framing))[0]
    assert sample["image"].shape == sample["valid"].shape == (1, *expected)


def test_a_decoded_image_is_its_file_between_minus_one_and_one(tmp_path):
    scene = make_scene(0, (40, 30))
    save_png(tmp_path / "x.png", scene)
    full = {"lower_percentile": 0, "upper_percentile": 100, "fit": "domain"}
    sample = load_domain(tmp_path, make_config(source_intensity=full))[0]
    np.testing.assert_allclose(sample["image"][0], 2 * scene - 1, atol=1e-4)


def test_decoded_masks_are_in_the_order_of_their_names(tmp_path):
    write_source(tmp_path, images=1)
    sample = load_domain(tmp_path, make_config(), with_masks=True)[0]
    np.testing.assert_array_equal(sample["mask"], make_masks((32, 40)).astype(np.float32))
    assert "mask" not in load_domain(tmp_path, make_config())[0]


@pytest.mark.parametrize(("framing", "images"), [(None, 8), (STILL, 2)])
def test_the_cache_keeps_to_its_limit(tmp_path, framing, images):
    # half of 1 MiB holds 8 images of 90 x 90 in two planes of 4 bytes, or 2 of them at twice the side
    for number in range(10):
        save_png(tmp_path / f"{number}.png", make_scene(number, (90, 90)))
    config = make_config(working_size=90, framing=framing, cache_mib=1)
    assert load_domain(tmp_path, config).cache_num == images
    assert load_domain(tmp_path, make_config(cache_mib=0)).cache_num == 0
    assert load_domain(tmp_path, make_config()).cache_num == 10


def test_only_the_message_about_a_reader_that_is_not_used_is_silenced(tmp_path, caplog):
    logger = logging.getLogger("monai.data.nvimgcodec_pydicom_plugin")
    message = "nvImageCodec is not available; skipping pydicom decoder plugin registration."
    decoded_images([], tmp_path, FULL, make_config())
    assert caplog.messages == []
    with _without_plugin_message():
        logger.warning(message)
        logger.warning("another message")
    logger.warning(message)
    assert caplog.messages == ["another message", message]
