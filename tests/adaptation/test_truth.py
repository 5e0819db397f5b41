from pathlib import Path

import pytest
from tiny_data import SOURCE_SHAPE, make_scene, save_png

from medi2i import adapt
from medi2i.data.manifest import read_manifest
from medi2i.errors import MaskMismatchError, UsageError
from tests.adaptation.jobs import check_error, histogram


def put_truth(folder: Path, names: list[str], shape: tuple[int, int] = SOURCE_SHAPE) -> str:
    for number, name in enumerate(names):
        save_png(folder / name, make_scene(number, shape, film=True), bits=8)
    return str(folder)


def test_truth_is_measured_beside_identity_and_histogram(domains_folder, tmp_path):
    # another suffix than the source's, and one image that has no source
    truth = put_truth(tmp_path / "truth", [f"drr_{n:02d}.tif" for n in range(12)] + ["other.tif"])
    results = adapt(histogram(domains_folder, truth=truth), out=tmp_path / "run", device="cpu").results
    assert results["truth"]["n_images"] == results["data"]["source"]["splits"]["test"]
    errors = {
        name: results["truth"][name]["mean_absolute_error"]["median"]
        for name in ("identity", "histogram", "translated")
    }
    assert errors["histogram"] < errors["identity"]
    assert errors["translated"] == pytest.approx(errors["histogram"], abs=0.01)


def test_truth_that_fits_nothing_is_an_error_before_anything_is_written(domains_folder, tmp_path):
    truth = put_truth(tmp_path / "truth", ["view_1.png"])
    check_error(
        UsageError,
        histogram(domains_folder, truth=truth),
        tmp_path / "run",
        "no image with the name of a source",
    )
    truth = put_truth(tmp_path / "other", [f"drr_{n:02d}.png" for n in range(12)], (40, 32))
    check_error(
        MaskMismatchError,
        histogram(domains_folder, truth=truth),
        tmp_path / "run",
        "40 x 32 pixels; expected",
    )
    check_error(UsageError, histogram(domains_folder, truth="nowhere"), tmp_path / "run", "no such file")


def test_truth_of_training_images_alone_is_said_and_not_measured(domains_folder, finished_run, tmp_path):
    rows = read_manifest(finished_run / "manifest.jsonl")
    train = [row.output for row in rows if row.domain == "source" and row.split == "train"]
    truth = put_truth(tmp_path / "truth", train)
    results = adapt(histogram(domains_folder, truth=truth), out=tmp_path / "run", device="cpu").results
    assert results["truth"] is None
    assert any(warning.startswith("truth: no true image") for warning in results["warnings"])
