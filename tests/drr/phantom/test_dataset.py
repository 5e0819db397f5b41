"""The embedded data set: complete, repeatable, unpaired for training, paired for scoring."""

import csv
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.ndimage import gaussian_filter

from medi2i.config import dump_config, load_config, preset_folder, validate_config
from medi2i.data.dataset_folder import discover
from medi2i.drr.geometry import ConeBeamGeometry
from medi2i.drr.phantom import (
    FindingsConfig,
    PatientConfig,
    PhantomConfig,
    SiteConfig,
    write_phantom_dataset,
)
from medi2i.drr.phantom.views import _take_film, film_codes, masks_of, phantom_patient, phantom_views
from medi2i.errors import ConfigError, OutputExistsError, UsageError

SMALL = PhantomConfig(
    source_patients=2,
    target_patients=1,
    views_per_patient=2,
    patient=PatientConfig(voxel_mm=(6.0, 6.0, 6.0), findings=FindingsConfig(nodule=1.0, missing_rib=1.0)),
    geometry=ConeBeamGeometry(rows=48, columns=40, detector_spacing_mm=(8.0, 9.0)),
    sites=(SiteConfig(), SiteConfig(name="ward", film="site_b")),
    target_masks=True,
    ct=True,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "set"
    counts = write_phantom_dataset(SMALL, out)
    return out, counts


def digests(out: Path) -> dict[str, str]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_folders_hold_what_the_configuration_says(written):
    out, counts = written
    assert counts == {"drr": 4, "xray": 2, "truth": 4}
    stems = {
        folder: sorted(path.stem for path in (out / folder / "images").glob("*.png")) for folder in counts
    }
    assert stems["drr"] == stems["truth"] == ["p0000_v0", "p0000_v1", "p0001_v0", "p0001_v1"]
    assert stems["xray"] == ["p0002_v0", "p0002_v1"]
    for folder, name in (("drr", "drr"), ("xray", "xray_masks")):
        masks = sorted((out / name / "masks").iterdir())
        assert [path.name for path in masks] == [f"{stem}.nii.gz" for stem in stems[folder]]


def test_the_folders_are_data_sets_and_only_the_drrs_have_masks(written):
    structures = SMALL.patient.structures
    assert structures[-1] == "nodule"
    found = {name: discover(written[0] / name) for name in ("drr", "xray", "truth")}
    assert found["drr"].structures == structures
    assert found["drr"].has_masks
    assert not found["xray"].has_masks
    assert not found["truth"].has_masks
    assert all(item.spacing_mm == (8.0, 9.0) for item in found["xray"].items)
    assert json.loads((written[0] / "xray_masks/dataset.json").read_text())["structures"] == list(structures)


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
    views = list(phantom_views(SMALL, 1, phantom_patient(SMALL, 1)))
    view, out = views[1], written[0]
    codes = read(out / "drr/images/p0001_v1.png")
    assert codes.shape == (48, 40)
    full_scale = SMALL.drr_full_scale
    # 3e-4 for sums in another order by another number of threads
    np.testing.assert_allclose(codes * full_scale / 65535, view.projection.line_integral, atol=3e-4)
    volume = nibabel.load(out / "drr/masks/p0001_v1.nii.gz")
    assert volume.header.get_zooms()[:2] == (9.0, 8.0)
    masks = np.asarray(volume.dataobj).transpose(2, 1, 0) > 0
    assert (masks != masks_of(view, 1.0)).mean() < 1e-3
    truth = read(out / "truth/images/p0001_v1.png")
    assert truth.dtype == np.uint16
    assert np.abs(truth.astype(float) - film_codes(view)).mean() < 0.01 * 65535


def test_views_say_pose_site_findings_and_geometry(written):
    views = {
        name: json.loads((written[0] / name / "views.json").read_text()) for name in ("drr", "truth", "xray")
    }
    first, second = views["drr"]["views"][:2]
    assert first["pose"] != second["pose"]
    assert first["K"][0][0] == pytest.approx(1800 / 9)
    assert np.shape(first["Rt"]) == (3, 4)
    kinds = {finding["kind"] for finding in first["findings"]}
    assert kinds == {"nodule", "missing_rib"}
    assert all(finding["rib"] in range(4, 10) for finding in first["findings"] if "rib" in finding)
    (nodule, *_) = (finding for finding in first["findings"] if finding["kind"] == "nodule")
    lengths = [*nodule["center_mm"], nodule["radius_mm"]]
    assert all(length == round(length, 2) for length in lengths)
    exact = next(f for f in phantom_patient(SMALL, 0).findings if f.kind == "nodule")
    np.testing.assert_allclose(lengths, [*exact.center_mm, exact.radius_mm], atol=0.005001)
    assert "site" not in first
    sites = {view["site"]: view["bits_stored"] for name in ("truth", "xray") for view in views[name]["views"]}
    assert sites.items() <= {"one_protocol": 12, "ward": 10}.items()
    assert views["truth"]["views"][0]["pose"] == first["pose"]
    assert first["isocenter_spacing_mm"] == pytest.approx([8 / 1.125, 9 / 1.125])


@pytest.mark.parametrize("name", ["drr", "truth", "xray"])
def test_the_direction_of_every_view_is_read_as_an_attribute(written, name):
    items = discover(written[0] / name).items
    assert items
    assert all(dict(item.attributes) == {"view": "PA"} for item in items)


def test_ct_folders_hold_volume_and_overlapping_structures(written):
    patient, folder = phantom_patient(SMALL, 1), written[0] / "ct/p0001"
    volume = nibabel.load(folder / "ct.nii.gz")
    np.testing.assert_allclose(np.asarray(volume.dataobj), patient.volume.hounsfield, atol=0.5)
    np.testing.assert_allclose(volume.affine, patient.volume.affine)
    assert nibabel.aff2axcodes(volume.affine) == ("R", "A", "S")
    for name in SMALL.patient.structures:
        stored = np.asarray(nibabel.load(folder / f"segmentations/{name}.nii.gz").dataobj)
        np.testing.assert_array_equal(stored > 0, patient.labels.mask(name))
    assert not (written[0] / "ct/p0002").exists()


def test_same_seed_writes_the_same_bytes_and_another_seed_other_patients(written, tmp_path):
    write_phantom_dataset(SMALL.model_copy(update={"workers": 1}), tmp_path / "again")
    assert digests(tmp_path / "again") == digests(written[0])
    write_phantom_dataset(SMALL.model_copy(update={"seed": 1, "ct": False}), tmp_path / "other")
    changed, first = digests(tmp_path / "other"), digests(written[0])
    assert all(changed[name] != first[name] for name in changed if "images" in name or "/masks" in name)


def test_more_patients_leave_the_first_ones_as_they_are():
    more = SMALL.model_copy(update={"source_patients": 7})
    for config in (SMALL, more):
        assert phantom_patient(config, 0).physique == phantom_patient(SMALL, 0).physique


def test_with_patients_sets_both_domains():
    config = PhantomConfig().with_patients(5)
    assert (config.source_patients, config.target_patients) == (5, 5)


def test_film_shows_the_same_anatomy_and_no_histogram_matching_reaches_it():
    geometry = ConeBeamGeometry(rows=96, columns=96, detector_spacing_mm=(4.0, 4.0))
    patient = PatientConfig(voxel_mm=(4.0, 4.0, 4.0))
    config = PhantomConfig(geometry=geometry, patient=patient)
    view = next(iter(phantom_views(config, 0, phantom_patient(config, 0), with_structures=False)))
    inside = view.film.exposed.numpy() & ~view.film.annotation.numpy()
    inside[:12] = False
    drr, film = view.projection.line_integral[inside], view.film.brightness().numpy()[inside]
    ranks = np.argsort(np.argsort(drr, kind="stable"), kind="stable")
    matched = np.sort(film)[ranks]
    assert np.abs(matched - film).mean() > 0.02
    details = [
        (image - gaussian_filter(image, 3))[inside]
        for image in (view.projection.line_integral, view.film.brightness().numpy())
    ]
    assert np.corrcoef(*details)[0, 1] > 0.6


def test_film_lies_pixel_on_pixel_over_the_drr():
    geometry = ConeBeamGeometry(rows=96, columns=96, detector_spacing_mm=(4.0, 4.0))
    config = PhantomConfig(geometry=geometry, patient=PatientConfig(voxel_mm=(4.0, 4.0, 4.0)), seed=2)
    view = next(iter(phantom_views(config, 0, phantom_patient(config, 0), with_structures=False)))
    window = np.outer(np.hanning(72), np.hanning(72))
    drr, film = (
        np.fft.fft2((image - gaussian_filter(image, 4))[12:-12, 12:-12] * window)
        for image in (view.projection.line_integral, view.film.brightness().numpy())
    )
    correlation = np.fft.ifft2(drr * film.conj()).real
    assert np.unravel_index(correlation.argmax(), correlation.shape) == (0, 0)
    for before, after in ((correlation[-1, 0], correlation[1, 0]), (correlation[0, -1], correlation[0, 1])):
        # the vertex of the parabola through the three values about the peak
        assert abs((before - after) / (before - 2 * correlation[0, 0] + after) / 2) < 0.1


def test_a_folder_in_use_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="new or empty folder"):
        write_phantom_dataset(SMALL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_full_scale_that_a_ray_exceeds_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="drr_full_scale"):
        write_phantom_dataset(SMALL.model_copy(update={"drr_full_scale": 2.0}), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_run_of_the_same_name_are_removed_and_no_others(tmp_path):
    killed = tmp_path / ".medi2i-unfinished-0a1b2c3d-set"
    others = [
        tmp_path / name
        for name in (
            ".medi2i-unfinished-0a1b2c3d-other",
            ".medi2i-unfinished-0a1b2c3d-my-set",
            ".medi2i-unfinished-0a1b2c3d-set2",
            "set2",
        )
    ]
    for folder in (killed, *others):
        (folder / "drr").mkdir(parents=True)
    with pytest.raises(UsageError, match="drr_full_scale"):
        write_phantom_dataset(SMALL.model_copy(update={"drr_full_scale": 2.0}), tmp_path / "set")
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_folder_in_use_keeps_leftovers_beside_it(tmp_path):
    leftover = tmp_path / ".medi2i-unfinished-0a1b2c3d-set"
    leftover.mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set/mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError):
        write_phantom_dataset(SMALL, tmp_path / "set")
    assert leftover.is_dir()


def test_films_of_upright_patients_in_pa_view_say_nothing_else(monkeypatch):
    """What marker each film gets, over enough patients that every marker of the site would be drawn."""
    taken = []

    def remember(paths, config, **settings):
        taken.append(config.marker.words if config.marker else None)
        return "film"

    monkeypatch.setattr("medi2i.drr.phantom.views.render_film", remember)
    site = SiteConfig(film="site_b")
    camera = SimpleNamespace(detector_spacing_mm=(1.0, 1.0), magnification=1.1)
    projection = SimpleNamespace(
        line_integral=np.zeros((4, 4)), materials_mm=None, valid=np.ones((4, 4), bool)
    )
    found = {}
    for view in ("PA", "AP"):
        config = SMALL.model_copy(update={"view": view})
        taken.clear()
        for number in range(60):
            _take_film(config, site, projection, camera, number, 0)
        found[view] = set(taken)
    assert found == {"PA": {None, "PA", "ERECT"}, "AP": {None, "AP", "PORTABLE", "ERECT"}}


def test_progress_counts_views(tmp_path):
    seen = []
    small = SMALL.model_copy(update={"views_per_patient": 1, "ct": False, "target_masks": False})
    write_phantom_dataset(small, tmp_path / "set", lambda done, total: seen.append((done, total)))
    assert seen == [(n, 3) for n in range(1, 4)]
    assert not (tmp_path / "set/xray_masks").exists()
    assert not (tmp_path / "set/ct").exists()


def test_default_preset_is_the_default_configuration_and_all_presets_load():
    config = load_config(preset_folder("phantom") / "default.yaml", PhantomConfig)
    assert config == PhantomConfig()
    assert validate_config(yaml.safe_load(dump_config(config)), PhantomConfig, "dump") == config
    complete = load_config(preset_folder("phantom") / "complete.yaml", PhantomConfig)
    assert [site.name for site in complete.sites] == ["site_a", "site_b"]


def test_sites_of_one_name_and_unknown_films_are_refused():
    with pytest.raises(ConfigError, match="same name"):
        validate_config({"sites": [{"name": "x"}, {"name": "x"}]}, PhantomConfig, "test")
    with pytest.raises(ConfigError, match="site_a"):
        SiteConfig(film="site_q").distribution()
