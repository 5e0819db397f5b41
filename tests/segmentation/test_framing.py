from pathlib import Path

import pytest

from medi2i.errors import ConfigError, NothingUsableError, UsageError
from medi2i.framing.estimation import EstimationConfig
from medi2i.framing.fitting import FittingConfig
from medi2i.framing.placement import Placement
from medi2i.segmentation import choose_crop_framing
from tests.framing.scenes import QUICK, make_film
from tests.tiny_data import save_png

QUICKLY = FittingConfig(estimation=EstimationConfig(search=QUICK), minimum_films=2, quantiles=(0.0, 1.0))


def write_scene(file: Path, spacing_mm: float, down_mm: float, shape: tuple[int, int] = (100, 100)) -> None:
    place = Placement((spacing_mm, spacing_mm), 0.0, (down_mm, 0.0))
    save_png(file, make_film(place, shape) / 255)


def test_crops_are_framed_as_films_show_the_patient_relative_to_the_images(tmp_path: Path):
    write_scene(tmp_path / "drr" / "a.png", 3.0, 0.0)  # 300 mm
    write_scene(tmp_path / "films" / "near.png", 3.3, 0.0)
    write_scene(tmp_path / "films" / "far.png", 3.9, 15.0)
    (tmp_path / "films" / "broken.png").write_bytes(b"no picture")
    chosen = choose_crop_framing(("fit", tmp_path / "films"), [tmp_path / "drr"], fitting=QUICKLY)
    found = chosen.framing
    # 5 to 95 % of the way from 1.1 to 1.3
    assert found.zoom_range == pytest.approx((1.11, 1.29), abs=0.015)
    assert found.shift_range[0] == pytest.approx((0, 15 / 300), abs=0.006)
    assert found.shift_range[1] == pytest.approx((0, 0), abs=0.006)
    assert found.aspect_range == pytest.approx((1, 1), abs=0.015)
    assert "2 of 3 films" in chosen.note


def test_a_file_of_medi2i_drr_is_used_as_it_is(tmp_path: Path):
    file = tmp_path / "augmentation.yaml"
    file.write_text("framing:\n  zoom: [1.0, 1.3]\n  rotation_deg: 5\n")
    chosen = choose_crop_framing(("use", file), [tmp_path]).framing
    assert chosen.zoom_range == (1.0, 1.3)
    assert chosen.rotation_range_deg == (-5, 5)
    file.write_text("zoom: [1.0, 1.3]\n")
    with pytest.raises(ConfigError):
        choose_crop_framing(("use", file), [tmp_path])


def test_another_word_than_fit_or_use_and_images_that_cannot_be_read_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="'fit' and a folder of films"):
        choose_crop_framing(("guess", tmp_path), [tmp_path])
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(NothingUsableError, match="none of 1 images"):
        choose_crop_framing(("fit", tmp_path), [tmp_path])
