"""`medi2i drr` as a user meets it: what it prints, and its one line and exit code for what is wrong."""

import nibabel
import numpy as np
import pytest
import yaml

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import load_radiograph
from medi2i.io.ct import read_ct
from tests.ct_files import make_slices, write_slices
from tests.rendering.cts import SETTINGS, make_config, write_patient, write_patients


@pytest.fixture
def drr(run_cli, tmp_path):
    """Run `medi2i drr` with tiny settings."""
    preset = tmp_path / "tiny.yaml"
    preset.write_text(yaml.safe_dump(SETTINGS))

    def run(*arguments):
        return run_cli("drr", *arguments, "--config", preset, "--device", "cpu")

    return run


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return write_patient(tmp_path_factory.mktemp("patient") / "ct")


def test_it_says_how_many_images_are_where(drr, patient, tmp_path):
    ended = drr(patient, "--out", tmp_path / "drr", "--views", 2, "--view", "AP", "--view", "lateral")
    assert ended.code == 0, ended.err
    assert f"images: 2 in {tmp_path / 'drr' / 'images'} (2 new)" in ended.out
    again = drr(patient, "--out", tmp_path / "drr", "--views", 2, "--view", "AP", "--view", "lateral")
    assert "(0 new)" in again.out


def test_skipped_patients_are_named_and_end_with_their_code(drr, tmp_path):
    folder = write_patients(tmp_path / "ct", 2)
    (folder / "jane-doe-1" / "ct.nii.gz").write_bytes(b"no image")
    ended = drr(folder, "--out", tmp_path / "drr")
    assert ended.code == 3
    assert "skipped: 1 patient(s)" in ended.out
    assert "jane-doe-1" in ended.out


def test_an_unknown_structure_is_answered_with_the_nearest(drr, patient, tmp_path):
    ended = drr(patient, "--out", tmp_path / "drr", "--set", "structures.names=[lunk]")
    assert ended.code == 2
    assert "'lunk'" in ended.error and "did you mean 'lung'?" in ended.error


def test_missing_labels_of_a_convention_are_named(drr, patient, tmp_path):
    ended = drr(patient, "--out", tmp_path / "drr", "--convention", "film")
    assert ended.code == 1
    assert "the right dome (liver or abdomen)" in ended.error and "the spine" in ended.error


def test_labels_of_another_grid_are_refused_with_the_way_out(drr, patient, tmp_path):
    shifted = tmp_path / "labels.nii.gz"
    image = nibabel.load(patient / "segmentations" / "lung.nii.gz")
    affine = image.affine.copy()
    affine[0, 3] += 1.5
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), shifted)
    command = [patient / "ct.nii.gz", "--labels", shifted, "--set", "structures.label_names={1: lung}"]
    ended = drr(*command, "--out", tmp_path / "drr")
    assert ended.code == 1
    assert "--resample-labels" in ended.error
    assert not (tmp_path / "drr").exists()
    assert drr(*command, "--out", tmp_path / "drr", "--resample-labels").code == 0


def test_several_series_are_listed_and_one_is_chosen(drr, tmp_path):
    ball = np.where((np.indices((12, 12, 12)) - 5.5).__pow__(2).sum(axis=0) < 20, 40, -1000).astype(np.int16)
    folder = tmp_path / "series"
    write_slices(folder, make_slices(ball), prefix="a")
    write_slices(folder, make_slices(ball[:, :, :8]), prefix="b")
    ended = drr(folder, "--out", tmp_path / "drr")
    assert ended.code == 1
    assert "--series" in ended.error and "12" in ended.error and "8" in ended.error
    assert "Token" not in ended.error and "token-id" not in ended.error
    assert drr(folder, "--out", tmp_path / "drr", "--series", 2).code == 0


def test_a_missing_slice_is_named_with_its_place(drr, tmp_path):
    slices = make_slices(
        np.full((12, 12, 9), 40, dtype=np.int16) - np.indices((12, 12, 9))[0].astype(np.int16)
    )
    del slices[4]
    ended = drr(write_slices(tmp_path / "series", slices), "--out", tmp_path / "drr")
    assert ended.code == 1
    # slices every 2.5 mm from -300 mm: the fifth, at -290, is missing between -292.5 and -287.5
    assert "-292.5" in ended.error and "-287.5" in ended.error


def test_wrong_directions_formats_and_framings_are_one_line(drr, patient, tmp_path):
    for option, value, said in (
        ("--view", "oblique", "view"),
        ("--format", "jpeg", "format"),
        ("--shard", "3/2", "--shard"),
        ("--structures", "totalsegmentor", "totalsegmentator"),
    ):
        ended = drr(patient, "--out", tmp_path / "drr", option, value)
        assert ended.code == 2, option
        assert said in ended.error
    ended = drr(patient, "--out", tmp_path / "drr", "--framing", "guess", tmp_path)
    assert ended.code == 2
    assert "'fit'" in ended.error


def test_framing_from_a_file_frames_the_views(drr, patient, tmp_path):
    ranges = {"height_mm": [40.0, 60.0], "aspect": [0.5, 0.5]}
    (tmp_path / "framing.yaml").write_text(yaml.safe_dump(ranges))
    ended = drr(patient, "--out", tmp_path / "drr", "--framing", "use", tmp_path / "framing.yaml")
    assert ended.code == 0, ended.err
    for item in discover(tmp_path / "drr").items:
        image = load_radiograph(item)
        assert image.pixels.shape == (32, 16)  # the longer side keeps the detector's 32
        height_mm = image.header.spacing_mm[0] * 32 / 1.2
        assert 40.0 <= height_mm <= 60.0


def test_the_framing_is_fitted_to_films_and_written(drr, tmp_path):
    """Films are crops of the CT's own DRR, so that the answer is known."""
    folder = write_head(tmp_path / "ct")
    geometry = {"rows": 96, "columns": 96, "detector_spacing_mm": [2.0, 2.0]}
    still = {"yaw_deg": 0, "pitch_deg": 0, "roll_deg": 0, "translation_mm": [0, 0, 0]}
    from medi2i.rendering import render_drrs

    plain = make_config(views=1, geometry={**SETTINGS["geometry"], **geometry}, pose=still)
    render_drrs(plain, folder, out=tmp_path / "plain")
    whole = load_radiograph(discover(tmp_path / "plain").items[0]).pixels
    (tmp_path / "films").mkdir()
    for number in range(6):
        crop = whole[16:80, 8:88]
        np.save(tmp_path / "films" / f"{number}.npy", (crop * (1 + 0.01 * number)).astype(np.float32))
    out = tmp_path / "drr"
    changes = ["geometry.rows=96", "geometry.columns=96", "geometry.detector_spacing_mm=[2.0, 2.0]"]
    ended = drr(
        folder,
        "--out",
        out,
        "--framing",
        "fit",
        tmp_path / "films",
        *(p for c in changes for p in ("--set", c)),
    )
    assert ended.code == 0, ended.err
    assert "framing fitted to 6 of 6 films" in ended.out
    fitted = yaml.safe_load((out / "framing.yaml").read_text())
    # 64 and 80 of the detector's 96 px of 2 mm, magnified 1.2 times
    assert fitted["height_mm"][2] == pytest.approx(64 * 2 / 1.2, rel=0.03)
    assert fitted["aspect"][2] == pytest.approx(80 / 64, rel=0.03)
    assert fitted["down_mm"][2] == pytest.approx(0.0, abs=2.0)
    assert (out / "framing.png").stat().st_size > 10_000
    assert yaml.safe_load((out / "augmentation.yaml").read_text())["framing"]["zoom"][0] < 1
    assert read_ct(folder / "ct.nii.gz").hounsfield.max() > 500


def write_head(folder):
    """A ball with bones at uneven places: enough to be recognised by."""
    folder.mkdir()
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -70.5
    x, y, z = np.indices((48, 48, 48)) * 3.0 - 70.5
    hounsfield = np.where((x / 66) ** 2 + (y / 50) ** 2 + (z / 68) ** 2 < 1, 40, -1000)
    generator = np.random.default_rng(3)
    for _ in range(14):
        place, radius = generator.uniform(-42, 42, 3), generator.uniform(5, 13)
        inside = (x - place[0]) ** 2 + (y - place[1] / 2) ** 2 + (z - place[2]) ** 2 < radius**2
        hounsfield[inside] = generator.choice([-850, 900, 500])
    nibabel.save(nibabel.Nifti1Image(hounsfield.astype(np.int16), affine), folder / "ct.nii.gz")
    return folder
