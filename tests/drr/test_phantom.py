"""The embedded data set: complete, repeatable, unpaired for training, paired for scoring."""

import csv
import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.ndimage import gaussian_filter

from medi2i.config import dump_config, load_config, preset_folder, validate_config
from medi2i.drr.anatomy import STRUCTURES
from medi2i.drr.geometry import ConeBeamGeometry
from medi2i.drr.phantom import PhantomConfig, phantom_film, phantom_projection, write_phantom_dataset
from medi2i.errors import OutputExistsError, UsageError

SMALL = PhantomConfig(
    source_patients=2,
    target_patients=1,
    views_per_patient=2,
    geometry=ConeBeamGeometry(rows=48, columns=40, detector_spacing_mm=(8.0, 9.0)),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "set"
    counts = write_phantom_dataset(SMALL, out)
    return out, counts


def digests(out: Path) -> dict[str, str]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rescaled(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, [0.5, 99.5])
    return np.clip((image - low) / (high - low), 0, 1)


def matched(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    ranks = np.argsort(np.argsort(image.ravel(), kind="stable"), kind="stable")
    return np.sort(reference.ravel())[ranks].reshape(image.shape)


def test_folders_hold_what_the_configuration_says(written):
    out, counts = written
    assert counts == {"drr": 4, "xray": 2, "truth": 4}
    stems = {
        folder: sorted(path.stem for path in (out / folder / "images").glob("*.png")) for folder in counts
    }
    assert stems["drr"] == stems["truth"] == ["p0000_v0", "p0000_v1", "p0001_v0", "p0001_v1"]
    assert stems["xray"] == ["p0002_v0", "p0002_v1"]
    assert [p.name for p in sorted((out / "drr/masks").iterdir())] == [f"{s}.nii.gz" for s in stems["drr"]]


def test_domains_share_no_patient(written):
    patients = {}
    for folder in ("drr", "xray", "truth"):
        with (written[0] / folder / "patients.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert all((written[0] / folder / "images" / row["file"]).is_file() for row in rows)
        patients[folder] = {row["patient"] for row in rows}
    assert patients["drr"] == patients["truth"] == {"p0000", "p0001"}
    assert patients["xray"] == {"p0002"}


def test_files_hold_the_projection_the_masks_and_the_film(written):
    projection = phantom_projection(SMALL, 1, 1)
    drr = Image.open(written[0] / "drr/images/p0001_v1.png")
    codes = np.asarray(drr)
    assert codes.shape == (48, 40)
    assert codes.max() > 255
    np.testing.assert_allclose(codes * 8.0 / 65535, projection.line_integral, atol=8.0 / 65535)
    volume = nibabel.load(written[0] / "drr/masks/p0001_v1.nii.gz")
    assert volume.shape == (40, 48, len(STRUCTURES))
    assert volume.header.get_zooms()[:2] == (9.0, 8.0)
    np.testing.assert_array_equal(np.asarray(volume.dataobj).transpose(2, 1, 0) > 0, projection.masks)
    film = np.asarray(Image.open(written[0] / "truth/images/p0001_v1.png"))
    assert film.dtype == np.uint8
    np.testing.assert_array_equal(film, np.rint(phantom_film(SMALL, projection, 1, 1) * 255))


def test_dataset_json_names_structures_spacing_and_rule(written):
    text = json.loads((written[0] / "drr/dataset.json").read_text())
    assert text["structures"] == list(STRUCTURES)
    assert text["spacing_mm"] == [8.0, 9.0]
    assert "above 1 mm" in text["mask_rule"]
    assert "not for training" in json.loads((written[0] / "truth/dataset.json").read_text())["description"]
    assert json.loads((written[0] / "xray/dataset.json").read_text())["structures"] == []


def test_same_seed_writes_the_same_bytes_and_another_seed_other_patients(written, tmp_path):
    write_phantom_dataset(SMALL, tmp_path / "again")
    assert digests(tmp_path / "again") == digests(written[0])
    write_phantom_dataset(SMALL.model_copy(update={"seed": 1}), tmp_path / "other")
    changed, first = digests(tmp_path / "other"), digests(written[0])
    assert all(changed[name] != first[name] for name in first if name.endswith((".png", ".nii.gz")))


def test_more_patients_leave_the_first_ones_as_they_are():
    more = SMALL.model_copy(update={"source_patients": 7})
    np.testing.assert_array_equal(
        phantom_projection(more, 0).line_integral, phantom_projection(SMALL, 0).line_integral
    )


def test_views_of_a_patient_are_poses_of_one_anatomy():
    first, second = (phantom_projection(SMALL, 0, view) for view in (0, 1))
    assert (first.masks != second.masks).any()
    np.testing.assert_allclose(first.masks.sum(axis=(1, 2)), second.masks.sum(axis=(1, 2)), rtol=0.3, atol=12)


def test_film_is_far_from_the_drr_and_no_histogram_matching_reaches_it():
    config = PhantomConfig(geometry=ConeBeamGeometry(rows=96, columns=96, detector_spacing_mm=(4.0, 4.0)))
    for patient in range(3):
        projection = phantom_projection(config, patient)
        drr, film = (
            rescaled(image) for image in (projection.line_integral, phantom_film(config, projection, patient))
        )
        identity = np.abs(drr - film).mean()
        best_point_operation = np.abs(matched(drr, film) - film).mean()
        assert 0.12 < identity < 0.25
        assert best_point_operation > 0.06
        # and yet it is the same anatomy: fine structure agrees
        details = [(image - gaussian_filter(image, 3))[10:-10, 10:-10].ravel() for image in (drr, film)]
        assert np.corrcoef(*details)[0, 1] > 0.8


def test_a_folder_in_use_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="new or empty folder"):
        write_phantom_dataset(SMALL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_full_scale_that_a_ray_exceeds_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="drr_full_scale"):
        write_phantom_dataset(SMALL.model_copy(update={"drr_full_scale": 2.0}), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_views(tmp_path):
    seen = []
    write_phantom_dataset(SMALL, tmp_path / "set", lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]


def test_default_preset_is_the_default_configuration():
    config = load_config(preset_folder("phantom") / "default.yaml", PhantomConfig)
    assert config == PhantomConfig()
    assert validate_config(yaml.safe_load(dump_config(config)), PhantomConfig, "dump") == config
