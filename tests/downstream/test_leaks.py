import numpy as np
import pytest
from PIL import Image

from medi2i.data.dataset_folder import discover
from medi2i.downstream.films import find_films
from medi2i.downstream.leaks import check_films
from medi2i.errors import MaskMismatchError, SplitLeakError
from medi2i.io.masks import write_mask_folder
from tests.downstream.squares import NAMES, make_domains, write_films
from tests.segmentation.squares import write_squares
from tests.tiny_data import load_png


@pytest.fixture
def folders(tmp_path):
    source = write_squares(tmp_path / "source", images=4)
    target = write_films(tmp_path / "target", range(40, 44))
    films = write_films(tmp_path / "films", range(60, 63))
    return source, target, films


def check(folders, *, transductive=False):
    source, target, films = folders
    return check_films(
        find_films(films), make_domains(source, target), (source, target), transductive=transductive
    )


def test_films_that_the_run_has_not_seen_pass(folders):
    assert check(folders) is False


def test_a_film_with_the_pixels_of_a_target_film_is_refused_at_another_bit_depth(folders):
    _, target, films = folders
    codes = load_png(target / "images" / "film_41.png")
    Image.fromarray(codes.astype(np.uint16) * 257).save(films / "images" / "film_60.png")
    with pytest.raises(SplitLeakError, match="the pixels of 1 and the patient of 0") as error:
        check(folders)
    assert "--transductive" in error.value.remedy
    assert check(folders, transductive=True) is True


def test_an_inverted_copy_is_the_same_film(folders):
    _, target, films = folders
    codes = load_png(target / "images" / "film_41.png")
    Image.fromarray(255 - codes).save(films / "images" / "film_60.png")
    with pytest.raises(SplitLeakError, match="the pixels of 1 and the patient of 0"):
        check(folders)


def test_one_film_of_two_patients_is_refused(folders):
    films = folders[2]
    (films / "images" / "film_61.png").write_bytes((films / "images" / "film_60.png").read_bytes())
    with pytest.raises(SplitLeakError, match="also those of another patient's film"):
        check(folders)
    table = (films / "patients.csv").read_text()
    (films / "patients.csv").write_text(table.replace("person-61", "person-60"))
    assert check(folders) is False  # twice of one patient: never on both sides


def test_a_film_of_a_patient_of_the_run_is_refused(folders):
    _, target, films = folders
    table = (films / "patients.csv").read_text()
    (films / "patients.csv").write_text(table.replace("person-61", "person-43"))
    with pytest.raises(SplitLeakError, match="the pixels of 0 and the patient of 1"):
        check(folders)
    (films / "patients.csv").write_text(table.replace("person-61", "patient-2"))  # of the source
    with pytest.raises(SplitLeakError, match="the patient of 1"):
        check(folders)
    assert discover(target).items[3].patient == "person-43"


def test_constant_films_are_like_no_other(folders):
    _, target, films = folders
    for path in (target / "images" / "film_40.png", films / "images" / "film_62.png"):
        Image.fromarray(np.full((40, 36), 7, dtype=np.uint8)).save(path)
    assert check(folders) is False


def test_masks_of_another_size_or_of_more_than_two_values_are_refused_at_once(folders):
    films = folders[2]
    write_mask_folder(films / "masks" / "film_60", np.ones((2, 30, 36), dtype=bool), NAMES)
    with pytest.raises(MaskMismatchError, match="30 rows x 36"):
        check(folders)
    soft = np.tile(np.arange(36, dtype=np.uint8), (40, 1))
    for name in NAMES:
        Image.fromarray(soft).save(films / "masks" / "film_60" / f"{name}.png")
    with pytest.raises(MaskMismatchError, match="36 values"):
        check(folders)
