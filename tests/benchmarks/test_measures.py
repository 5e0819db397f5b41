import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.suites import tiny_suite
from tiny_data import SOURCE_SHAPE, make_masks, make_scene, save_png, write_patients, write_source

from medi2i.benchmarks import downstream, fcn_score, run_benchmark
from medi2i.benchmarks.datasets import make_phantom
from medi2i.benchmarks.downstream import DownstreamMeasure
from medi2i.benchmarks.fcn_score import FCNScoreMeasure
from medi2i.benchmarks.finished import FinishedRun
from medi2i.benchmarks.folders import Folders, Groundwork
from medi2i.benchmarks.measure import mean_values, measure_path, read_measure, take_measure
from medi2i.benchmarks.segmenters import label_films
from medi2i.benchmarks.structure import StructureMeasure
from medi2i.benchmarks.styles import StylesMeasure
from medi2i.benchmarks.suite import DataSet, SuiteConfig
from medi2i.config import find_preset, load_config, preset_folder
from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import load_masks
from medi2i.errors import ConfigError, OutputExistsError, UsageError
from medi2i.image import IntensityConfig
from medi2i.io.masks import write_mask_folder
from medi2i.segmentation import SegmenterChoice, segment_image
from medi2i.training.interruption import StopRequest

SMALL_PHANTOM = (
    "source_patients=5",
    "target_patients=5",
    "geometry.rows=24",
    "geometry.columns=24",
    "geometry.detector_spacing_mm=[16.0,16.0]",
    "patient.voxel_mm=[12.0,12.0,12.0]",
)


@pytest.fixture
def run(identity_run, tmp_path) -> FinishedRun:
    """The identity on tiny images, to be given translations and truth by hand."""
    return FinishedRun(identity_run, tmp_path / "shared", device="cpu")


def give_truth(run: FinishedRun, folder: Path) -> FinishedRun:
    """True films that are the source images themselves."""
    run.__dict__["truth"] = {row.id: folder / "src" / row.file for row in run.domains.source}
    return run


def test_errors_to_the_truth_are_shares_of_the_range_and_displacements_pixels(
    run, domains_folder, monkeypatch
):
    give_truth(run, domains_folder)
    monkeypatch.setattr(FinishedRun, "true_film", lambda self, image: (image.image, image.valid))
    run.__dict__["translation"] = lambda image: image.image + 0.2
    measured = StructureMeasure(images=2).measure(run)
    assert len(measured.images) == 2
    assert measured.values["truth_mae"] == pytest.approx(0.1)  # 0.2 of a range of 2
    assert measured.values["moved_p95_px"] == pytest.approx(0, abs=1e-6)
    assert measured.values["truth_moved_p95_px"] == pytest.approx(0, abs=1e-6)
    assert measured.values["back_mae"] == 0  # the way back of the identity
    assert measured.values["back_ssim"] == pytest.approx(1)


def test_a_shift_of_the_translation_is_found_in_pixels(run):
    run.__dict__["translation"] = lambda image: np.roll(image.image, 1, axis=1)
    measured = StructureMeasure(images=2, back=False).measure(run)
    assert measured.values["moved_p50_px"] == pytest.approx(1, abs=0.15)
    assert set(measured.values) == {"moved_p50_px", "moved_p95_px"}


def test_without_truth_the_way_back_is_measured_on_films(run):
    run.__dict__["translation"] = lambda image: image.image
    measured = StructureMeasure(images=1).measure(run)
    assert measured.values["back_moved_p95_px"] == pytest.approx(0, abs=1e-6)
    assert [row["id"].split("-")[0] for row in measured.images] == ["source", "target"]


def test_a_measure_is_taken_once_for_its_settings(run, copied_run):
    own = FinishedRun(copied_run, run.shared, device="cpu")
    settings = StructureMeasure(images=1, back=False)
    assert read_measure(copied_run, settings) is None
    take_measure(own, settings)
    assert set(read_measure(copied_run, settings)["values"]) == {"moved_p50_px", "moved_p95_px"}
    assert read_measure(copied_run, StructureMeasure(images=2, back=False)) is None
    measure_path(copied_run, "structure").write_text("{")
    assert read_measure(copied_run, settings) is None


def test_means_leave_out_what_is_undefined():
    means = mean_values([{"a": 1.0, "b": float("nan")}, {"a": 3.0}], ["a", "b"])
    assert means["a"] == 2
    assert np.isnan(means["b"])


def test_a_method_without_styles_has_no_value_of_styles(run):
    assert StylesMeasure().measure(run).values == {}


class Knows:
    """A segmenter that answers with given masks, whatever it sees."""

    def __init__(self, masks: np.ndarray, structures: tuple[str, ...] = ("heart", "lung")) -> None:
        self.masks, self.structures = masks, structures
        self.config = SimpleNamespace(data=SimpleNamespace(source_intensity=IntensityConfig()))

    def predict(self, image, valid):
        assert image.min() >= -1
        assert image.max() <= 1
        return self.masks.astype(np.float32)


def test_a_segmenter_sees_every_image_in_its_own_range():
    seen = []
    segmenter = Knows(make_masks((32, 40)))
    segmenter.predict = lambda image, valid: (seen.append(image), segmenter.masks)[1]
    image = make_scene(1, (32, 40))
    for scaled in (image, 100 * image - 3):
        segment_image(segmenter, scaled, np.ones(image.shape, dtype=bool))
    assert seen[0] == pytest.approx(seen[1], abs=1e-4)
    assert seen[0].max() == 1


def test_intensities_of_a_domain_are_refused_for_segmenters():
    with pytest.raises(ConfigError, match=r"source_intensity\.fit"):
        SegmenterChoice(set=("data.source_intensity.fit=domain",)).load()


@pytest.mark.parametrize(("answer", "iou"), [("true", 1.0), ("empty", None)])
def test_fcn_score_of_known_answers(run, domains_folder, monkeypatch, answer, iou):
    masks = make_masks(SOURCE_SHAPE)
    known = Knows(masks if answer == "true" else np.zeros_like(masks))
    monkeypatch.setattr(fcn_score, "load_segmenter", lambda model, device: known)
    give_truth(run, domains_folder)
    run.__dict__["translation"] = lambda image: image.image
    values = FCNScoreMeasure().measure(run).values
    background = float(1 - masks.any(axis=0).mean())
    # nothing found: each structure has IoU 0, and the background its share of the image
    expected = iou if iou is not None else background / 3
    for name in ("class_iou", "back_class_iou", "film_class_iou", "source_class_iou"):
        assert values[name] == pytest.approx(expected)
    assert values["pixel_accuracy"] == pytest.approx(1.0 if iou else background)


@pytest.fixture
def split_folders(tmp_path) -> Folders:
    source = write_source(tmp_path / "source", images=4, patients=4)
    sides = ("train", "train", "validation", "test")
    names = [f"drr_{n:02d}.png" for n in range(4)]
    write_patients(source, [(name, f"p{n}", sides[n]) for n, name in enumerate(names)], "file,patient,split")
    truth = tmp_path / "truth"
    for n, name in enumerate(names[1:], start=1):
        save_png(truth / "images" / name, make_scene(n, SOURCE_SHAPE, film=True))
    return Folders(source, tmp_path / "target", truth)


def test_labelled_films_have_the_masks_and_splits_of_their_source_images(split_folders, tmp_path):
    label_films(split_folders, tmp_path / "films")
    films = discover(tmp_path / "films")
    assert [(item.relative.name, item.split) for item in films.items] == [
        ("drr_01.png", "train"),
        ("drr_02.png", "validation"),
        ("drr_03.png", "test"),
    ]
    assert films.structures == ("heart", "lung")
    masks = load_masks(films.items[0].mask, films.structures, SOURCE_SHAPE)
    assert np.array_equal(masks, make_masks(SOURCE_SHAPE))


def test_both_segmenters_are_trained_before_the_cells(split_folders, tmp_path, monkeypatch):
    trained = {}
    monkeypatch.setattr(
        fcn_score, "train_segmenter", lambda config, folders, *, out, **_: trained.update({out.name: folders})
    )
    shared = tmp_path / "shared"
    FCNScoreMeasure().prepare(Groundwork(split_folders, shared, "cpu", StopRequest()))
    assert trained == {
        "film_segmenter": [shared / "labelled_films"],
        "source_segmenter": [split_folders.source],
    }


def test_splits_that_change_with_the_seed_are_refused_for_fcn_score(split_folders, tmp_path):
    write_patients(split_folders.source, [(f"drr_{n:02d}.png", f"p{n}") for n in range(4)])
    with pytest.raises(UsageError, match="column 'split'"):
        FCNScoreMeasure().prepare(Groundwork(split_folders, tmp_path, "cpu", StopRequest()))


def test_dice_on_films_joins_the_structures_that_together_are_one(run, tmp_path, monkeypatch):
    shape = (20, 20)
    found = np.zeros((2, *shape), dtype=bool)
    found[0, :, :5], found[1, :, 5:10] = True, True
    true = np.zeros((2, *shape), dtype=bool)
    true[0, :, :10], true[1, :, 5:15] = True, True
    films = tmp_path / "films"
    for number in range(2):
        save_png(films / "images" / f"f{number}.png", make_scene(number, shape))
        write_mask_folder(films / "masks" / f"f{number}", true, ("both", "half"))
    write_patients(films, [("f0.png", "Miller"), ("f1.png", "Miller")])
    monkeypatch.setattr(downstream, "train_segmenter", lambda *_, out, **__: out)
    monkeypatch.setattr(downstream, "load_segmenter", lambda model, device: Knows(found, ("heart", "lung")))
    structures = {"both": ("heart", "lung"), "half": ("lung",)}
    measured = DownstreamMeasure(structures=structures).measure(
        FinishedRun(run.folder, run.shared, films, device="cpu")
    )
    # both: the same 10 columns; half: 5 columns found, 10 true, 5 shared: 2 * 5 / 15
    assert measured.values["dice_both"] == pytest.approx(1)
    assert measured.values["dice_half"] == pytest.approx(2 / 3)
    assert measured.values["dice"] == pytest.approx(5 / 6)
    assert [row["patient"] for row in measured.images] == ["patient-000000"] * 2
    assert "Miller" not in json.dumps(measured.images)


def test_downstream_without_films_names_the_option(run):
    with pytest.raises(UsageError, match=r"--set data\.NAME\.films=DIR"):
        DownstreamMeasure().measure(run)


@pytest.mark.parametrize(
    ("films", "structures", "message"),
    [
        (None, {"heart": ("heart",)}, r"--set data\.NAME\.films=DIR"),
        ("tgt", {"heart": ("heart",)}, r"tgt: images without masks; expected masks of heart"),
        ("src", {"spine": ("heart",)}, r"src: no structure 'spine'; expected structures among heart, lung"),
        ("src", {"heart": ("heart", "rib")}, r"src: no structure 'rib'"),
        ("nowhere", {"heart": ("heart",)}, "nowhere: no such file or folder"),
    ],
)
def test_data_that_downstream_cannot_use_are_refused_before_anything_is_written(
    domains_folder, tmp_path, run_cli, films, structures, message
):
    data = {"source": str(domains_folder / "src"), "target": str(domains_folder / "tgt")}
    data |= {} if films is None else {"films": str(domains_folder / films)}
    measure = {"name": "downstream", "structures": structures}
    suite = tiny_suite(domains_folder, data={"toy": data}, measures=[measure])
    with pytest.raises(UsageError, match=message):
        run_benchmark(suite, out=tmp_path / "out", device="cpu")
    file = tmp_path / "suite.yaml"
    file.write_text(json.dumps(suite.model_dump(mode="json")))
    assert run_cli("benchmark", file, "--out", tmp_path / "out", "--dry-run").code == 2
    assert not (tmp_path / "out").exists()


def test_data_that_downstream_can_use_pass(domains_folder):
    source = domains_folder / "src"
    measure = DownstreamMeasure(structures={"lung": ("lung",), "heart": ("heart",)})
    measure.check(Folders(source, domains_folder / "tgt", films=source))
    phantom = Folders(domains_folder / "later", domains_folder / "tgt", films=source, is_made=True)
    unknown = DownstreamMeasure(structures={"lung": ("anything",)})
    unknown.check(phantom)  # asked again when it is made
    with pytest.raises(UsageError, match="no structure 'anything'"):
        unknown.check(Folders(source, domains_folder / "tgt", films=source))


def test_the_segmenters_structures_are_checked_before_it_is_trained(run, domains_folder, monkeypatch):
    monkeypatch.setattr(downstream, "train_segmenter", lambda *_, **__: pytest.fail("trained"))
    measure = DownstreamMeasure(structures={"heart": ("spleen",)})
    with pytest.raises(UsageError, match="translated: no structure 'spleen'"):
        measure.measure(FinishedRun(run.folder, run.shared, domains_folder / "src", device="cpu"))


def test_a_phantom_is_made_once_with_fixed_splits(tmp_path):
    data = DataSet.model_validate({"phantom": {"set": SMALL_PHANTOM}})
    stop = StopRequest()
    make_phantom("toy", data, tmp_path, shard=(1, 1), stop=stop)
    folder = tmp_path / "data" / "toy"
    for domain in ("drr", "xray", "truth"):
        rows = list(csv.DictReader((folder / domain / "patients.csv").read_text().splitlines()))
        # of 5 patients a quarter, rounded, for test, and 15 % for validation
        assert [row["split"] for row in rows] == ["train", "train", "train", "validation", "test"]
    before = (folder / "phantom.yaml").stat().st_mtime_ns
    make_phantom("toy", data, tmp_path, shard=(1, 1), stop=stop)
    assert (folder / "phantom.yaml").stat().st_mtime_ns == before
    other = DataSet.model_validate({"phantom": {"set": [*SMALL_PHANTOM, "seed=1"]}})
    with pytest.raises(OutputExistsError, match="phantom of other settings"):
        make_phantom("toy", other, tmp_path, shard=(1, 1), stop=stop)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["toy"]


@pytest.mark.parametrize("preset", sorted(path.stem for path in preset_folder("benchmark").glob("*.yaml")))
def test_every_row_and_segmenter_of_a_preset_loads(preset):
    suite = load_config(find_preset(preset, "benchmark"), SuiteConfig)
    trained = set()
    for row in suite.rows:
        config = suite.adapt_config(row, suite.seeds[0])
        if config.adapter.build(seed=0).players:
            trained.add(config.require_training().steps)
    assert len(trained) == 1  # the same budget
    for measure in suite.measures:
        if hasattr(measure, "segmenter"):
            assert measure.segmenter.load()


def test_suites_that_contradict_themselves_are_refused(domains_folder):
    for wrong, message in (
        ({"seeds": [1, 1]}, "seed given twice"),
        ({"reference": "cut"}, "no row"),
        ({"rows": {"a/b": {}}}, "small letters"),
        ({"data": {"x": {"source": "a", "phantom": {}}}}, "either 'phantom'"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny_suite(domains_folder, **wrong)


def test_a_row_without_a_preset_is_named(domains_folder):
    with pytest.raises(ConfigError, match=r"rows\.bare"):
        tiny_suite(domains_folder, rows={"bare": {}}).adapt_config("bare", 0)


def test_runs_are_not_bound_to_where_they_were_made(identity_run, tmp_path):
    moved = Path(shutil.copytree(identity_run, tmp_path / "moved"))
    assert FinishedRun(moved, tmp_path, device="cpu").domains.source
