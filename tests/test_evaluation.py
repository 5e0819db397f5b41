import json
import math

import numpy as np
import pytest
import torch
from tiny_data import STRUCTURES, load_png, make_masks, make_scene, save_png, write_source, write_target

from medi2i import evaluation
from medi2i.adapters import CycleGANConfig
from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import ManifestRow, inspect_folder
from medi2i.data.split import SplitConfig, assign_splits
from medi2i.data.unpaired import DataConfig, resize
from medi2i.errors import MaskMismatchError
from medi2i.evaluation import (
    Domains,
    EvaluationConfig,
    check_masks,
    describe_domain,
    fix_reference,
    measure_translation,
    measure_truth,
    require_matrix,
    summarize,
    validator,
    write_picture,
    write_results,
    write_worst,
)
from medi2i.image import IntensityConfig, IntensityMap, merge_intensity
from medi2i.io.masks import write_mask_folder, write_mask_nifti
from medi2i.metrics.features import distribution_features

CONFIG = EvaluationConfig(feature_size=64, floor_repeats=10, worst=2)


def make_row(number: int, patient: str | None = None, **values: object) -> ManifestRow:
    defaults = {"split": "test", "rows": 8, "columns": 8}
    names = (f"source-{number:04d}", "source", f"{number}.png", f"{number}.png", f"hash-{number}")
    return ManifestRow(
        *names,
        **{"intensity": IntensityMap(0, 1), "valid_fraction": 1.0, "patient": patient} | defaults | values,
    )


def nothing() -> None:
    return None


@pytest.fixture(scope="module")
def domains(domains_folder) -> Domains:
    rows, folders = {}, {name: discover(domains_folder / name[:3]) for name in ("src", "tgt")}
    for name, domain in (("src", "source"), ("tgt", "target")):
        found, _ = inspect_folder(folders[name], domain, IntensityConfig(), salt=b"salt")
        rows[domain], _ = assign_splits(found, SplitConfig(), seed=0)
    maps = {
        name: merge_intensity([row.intensity for row in found if row.split == "train"])
        for name, found in rows.items()
    }
    config = DataConfig(working_size=32, crop_size=32)
    return Domains(rows["source"], rows["target"], folders["src"].root, folders["tgt"].root, maps, config)


@pytest.fixture(scope="module")
def reference(domains):
    return fix_reference(domains, CONFIG, seed=0, tick=nothing)


def test_a_summary_is_over_images_with_an_interval_over_patients():
    rows = [{"m": value} for value in (1.0, 2.0, 3.0, 4.0, 5.0, math.nan)]
    manifest = [make_row(n, f"p{n % 3}") for n in range(6)]
    summary = summarize(rows, manifest, ["m"], seed=0)["m"]
    assert (summary["p5"], summary["median"], summary["p95"]) == (1.2, 3.0, 4.8)
    mean = summary["mean"]
    assert (mean["estimate"], mean["n_images"], mean["n_undefined"], mean["n_patients"]) == (3.0, 5, 1, 3)
    # patients' means: p0 of 1 and 4, p1 of 2 and 5, p2 of 3 alone: all samples lie between 2.5 and 3.5
    assert 2.5 <= mean["low"] < 3.0 < mean["high"] <= 3.5
    assert mean["patients_unknown"] is False


def test_one_patient_has_no_interval():
    manifest = [make_row(n, "p") for n in range(3)]
    mean = summarize([{"m": v} for v in (1.0, 2.0, 6.0)], manifest, ["m"], seed=0)["m"]["mean"]
    assert (mean["estimate"], mean["low"], mean["high"]) == (3.0, None, None)


def test_unknown_patients_are_marked():
    manifest = [make_row(0, "p"), make_row(1), make_row(2, "q")]
    mean = summarize([{"m": v} for v in (1.0, 2.0, 6.0)], manifest, ["m"], seed=0)["m"]["mean"]
    assert mean["patients_unknown"] is True
    assert mean["n_patients"] is None
    assert mean["low"] < 3.0 < mean["high"]


def test_a_measure_that_is_never_defined_is_null_in_the_results(tmp_path):
    summary = summarize([{"m": math.nan}] * 2, [make_row(0, "p"), make_row(1, "q")], ["m"], seed=0)
    write_results(tmp_path / "results.json", {"summary": summary})
    read = json.loads((tmp_path / "results.json").read_text())["summary"]["m"]
    assert (read["p5"], read["median"], read["mean"]["estimate"]) == (None, None, None)
    assert read["mean"]["n_undefined"] == 2


def test_results_hold_plain_numbers_and_null_only(tmp_path):
    values = {
        "a": np.float32(0.5),
        "b": [np.int64(3), math.inf],
        "c": (math.nan,),
        4: np.bool_(True),
        "d": "x",
    }
    write_results(tmp_path / "results.json", values)
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text) == {"a": 0.5, "b": [3, None], "c": [None], "4": True, "d": "x"}
    assert "NaN" not in text and "Infinity" not in text


def test_a_domain_is_described_by_counts_without_names():
    rows = [
        make_row(0, "p", rows=10, columns=20, bits_stored=12, spacing_origin="detector", split="train"),
        make_row(1, "p", rows=30, columns=5, bits_stored=8, valid_fraction=0.5, structures=("heart",)),
        make_row(2, "q", rows=10, columns=30, split="validation"),
    ]
    assert describe_domain(rows, skipped=4) == {
        "n_images": 3,
        "n_skipped": 4,
        "n_patients": 2,
        "patients_unknown": False,
        "splits": {"train": 1, "validation": 1, "test": 1},
        "matrix_smallest": [10, 20],
        "matrix_largest": [30, 5],
        "bits_stored": [8, 12],
        "spacing_origins": {"detector": 1, "unknown": 2},
        "structures": ["heart"],
        "mean_valid_fraction": pytest.approx(2.5 / 3),
    }
    unknown = describe_domain([make_row(0, "p"), make_row(1)], skipped=0)
    assert (unknown["n_patients"], unknown["patients_unknown"]) == (None, True)


@pytest.mark.parametrize("form", ["nifti", "png"])
def test_a_changed_mask_is_not_identical_and_a_lost_one_not_carried(tmp_path, form):
    masks = make_masks((32, 32))
    changed = np.roll(masks, 1, axis=2)
    rows = []
    for number, copied in enumerate((masks, changed, None)):
        for folder, content in (("in", masks), ("out", copied)):
            path = tmp_path / folder / "masks" / f"{number}"
            if content is not None and form == "nifti":
                write_mask_nifti(path.with_name(f"{number}.nii.gz"), content, spacing_mm=None)
            elif content is not None:
                write_mask_folder(path, content, STRUCTURES)
        rows.append(make_row(number, mask=f"masks/{number}{'.nii.gz' if form == 'nifti' else ''}"))
    rows.append(make_row(3))
    counted = check_masks(rows, tmp_path / "in", tmp_path / "out")
    assert counted == {"in_source": 3, "carried": 2, "identical": 1}


def test_a_folder_of_masks_that_lost_one_structure_is_not_carried(tmp_path):
    for folder in ("in", "out"):
        write_mask_folder(tmp_path / folder / "masks" / "0", make_masks((32, 32)), STRUCTURES)
    (tmp_path / "out" / "masks" / "0" / "lung.png").unlink()
    counted = check_masks([make_row(0, mask="masks/0")], tmp_path / "in", tmp_path / "out")
    assert counted == {"in_source": 1, "carried": 0, "identical": 0}


def test_the_identity_keeps_all_structure_and_its_distance_is_the_baselines(domains, reference):
    measured = measure_translation(
        domains, reference, lambda image: image.image, CONFIG, seed=0, tick=nothing
    )
    for row in measured["images"]:
        assert row["gradient_correlation"] == pytest.approx(1.0, abs=1e-5)
        assert (row["edge_median"], row["edge_p95"], row["edge_unit"], row["flags"]) == (0.0, 0.0, "mm", [])
    assert measured["distance"] == reference.baselines["identity"]["distance"]
    assert measured["n_undefined_features"] == 0


def test_histogram_matching_is_nearer_to_the_target_than_nothing(reference):
    distance = {name: values["distance"]["all"] for name, values in reference.baselines.items()}
    assert distance["histogram"] < distance["identity"]


def test_the_target_itself_is_at_the_floor(domains, reference):
    """Real films in place of translations: their distance is of the size of the floor."""
    films = [image.image for image in domains.images("target", "test", "validation")]
    numbers = {row.id: n for n, row in enumerate(domains.source)}

    def translation(image):
        film = films[numbers[image.row.id] % len(films)]
        return np.pad(film, ((0, 0), (0, 4)), mode="edge")[:32]

    measured = measure_translation(domains, reference, translation, CONFIG, seed=0, tick=nothing)
    assert measured["distance"]["all"] < 0.3 * reference.baselines["identity"]["distance"]["all"]


def test_a_ruined_translation_is_flagged_and_undefined_features_are_counted(domains, reference):
    def translation(image):
        number = int(image.row.id[-4:])
        if number == 0:
            return np.full_like(image.image, -1)
        if number == 1:
            return -image.image
        return np.full_like(image.image, np.nan) if number == 2 else image.image

    measured = measure_translation(domains, reference, translation, CONFIG, seed=0, tick=nothing)
    flags = [row["flags"] for row in measured["images"]]
    assert flags[:4] == [["constant", "empty"], ["inverted"], ["nonfinite"], []]
    assert measured["n_undefined_features"] == 1
    assert math.isfinite(measured["distance"]["all"])
    assert measured["structure"]["gradient_correlation"]["mean"]["n_undefined"] == 1


def test_pairs_within_a_patient_do_not_count(domains, reference, monkeypatch):
    seen = []

    def spy(x, y, *, x_groups=None, y_groups=None):
        seen.append((len(x), x_groups, len(y), y_groups))
        return {}

    monkeypatch.setattr(evaluation, "energy_distances", spy)
    measure_translation(domains, reference, lambda image: image.image, CONFIG, seed=0, tick=nothing)
    test = [row.patient for row in domains.target if row.split == "test"]
    source = [row.patient for row in domains.source]
    held_out = [row.patient for row in domains.source if row.split == "test"]
    assert len(set(source)) == 6 and len(source) == 12
    assert seen == [(12, source, len(test), test), (len(held_out), held_out, len(test), test)]


def test_a_single_patient_counts_by_image(domains, monkeypatch):
    one = [type(row)(**{**vars(row), "patient": "p"}) for row in domains.target]
    single = Domains(**{**vars(domains), "target": one})
    fixed = fix_reference(single, CONFIG, seed=0, tick=nothing)
    assert fixed.target_groups == {"train": None, "validation": None, "test": None}
    assert math.isfinite(fixed.floor["all"]["mean"])
    assert math.isfinite(fixed.baselines["identity"]["distance"]["all"])


def test_a_film_without_features_does_not_undefine_the_floors(domains, monkeypatch):
    blank = {next(row.id for row in domains.target if row.split == split) for split in ("train", "test")}
    original = Domains.images

    def with_blanks(self, *names):
        for image in original(self, *names):
            hidden = np.zeros_like(image.valid) if image.row.id in blank else image.valid
            yield type(image)(image.row, image.image, hidden)

    monkeypatch.setattr(Domains, "images", with_blanks)
    fixed = fix_reference(domains, CONFIG, seed=0, tick=nothing)
    held_out = sum(row.split != "train" for row in domains.target) - 1
    assert fixed.floor["all"]["n_images"] == fixed.floor["all"]["n_patients"] == held_out
    assert all(math.isfinite(floor["mean"]) for floor in fixed.floor.values())
    assert math.isfinite(fixed.baselines["identity"]["distance"]["all"])


def test_the_reference_is_fixed_by_its_seed(domains, reference):
    again = fix_reference(domains, CONFIG, seed=0, tick=nothing)
    assert again.floor == reference.floor
    assert fix_reference(domains, CONFIG, seed=1, tick=nothing).floor != reference.floor


def test_validation_sees_validation_images_only(domains, reference, monkeypatch):
    seen = []
    original = evaluation.translate_whole

    def spy(adapter, image, *rest):
        seen.append(image.shape)
        return original(adapter, image, *rest)

    monkeypatch.setattr(evaluation, "translate_whole", spy)
    adapter = CycleGANConfig.model_validate(
        {
            "generator": {"width": 2, "blocks": 0, "residual_output": True},
            "discriminator": {"width": 2, "layers": 1},
        }
    ).build(seed=0)
    score = validator(domains, reference, CONFIG)(adapter)
    assert len(seen) == sum(row.split == "validation" for row in domains.source) == 2
    # an untrained residual generator is nearly the identity
    assert score.gradient_correlation > 0.99
    assert 0 < score.distance < math.inf


def test_one_validation_image_a_side_still_gives_a_distance(tmp_path):
    rows = {}
    for name, domain, write in (("src", "source", write_source), ("tgt", "target", write_target)):
        folder = discover(write(tmp_path / name, images=8))
        found, _ = inspect_folder(folder, domain, IntensityConfig(), salt=b"salt")
        wanted = ["train"] * 4 + ["validation"] + ["test"] * 3
        rows[domain] = [type(r)(**{**vars(r), "split": s}) for r, s in zip(found, wanted, strict=True)]
    maps = {"source": IntensityMap(0, 1), "target": IntensityMap(0, 1)}
    config = DataConfig(working_size=32, crop_size=32)
    small = Domains(rows["source"], rows["target"], tmp_path / "src", tmp_path / "tgt", maps, config)
    fixed = fix_reference(small, CONFIG, seed=0, tick=nothing)
    networks = {"generator": {"width": 2, "blocks": 0, "residual_output": True}}
    score = validator(small, fixed, CONFIG)(CycleGANConfig.model_validate(networks).build(seed=0))
    # an untrained residual generator shrinks the range to 0.97; of the aspect 32 x 40, 26 x 32 are seen
    image = next(small.images("source", "validation"))
    seen = 0.97 * resize(torch.from_numpy(image.image)[None], (26, 32))[0].numpy()
    features = fixed.scaler.transform(distribution_features(seen, feature_size=64))
    expected = 2 * np.linalg.norm(features - fixed.target["validation"][0])
    assert score.distance == pytest.approx(expected, rel=1e-3)


def truth_for(domains, folder, shape=(32, 40)):
    test = [row for row in domains.source if row.split == "test"]
    scene = make_scene(99, shape, film=True)
    return {row.id: save_png(folder / f"{row.id}.png", scene, bits=8) for row in test}


def test_truth_is_measured_on_source_images_never_trained_on(domains, tmp_path):
    truth = truth_for(domains, tmp_path)
    perfect = {}
    for image in domains.images("source", "test"):
        perfect[image.row.id] = evaluation._true_image(truth[image.row.id], image, domains)[0]
    off = {
        "perfect": lambda image: perfect[image.row.id],
        "shifted": lambda image: perfect[image.row.id] - 0.2,
    }
    result = measure_truth(domains, truth, off, seed=0, tick=nothing)
    assert (result["n_images"], result["n_patients"]) == (len(truth), 2)
    assert result["perfect"]["mean_absolute_error"]["median"] == 0.0
    assert result["perfect"]["ssim"]["median"] == pytest.approx(1.0)
    # 0.2 of a range that is two wide
    assert result["shifted"]["mean_absolute_error"]["median"] == pytest.approx(0.1, abs=1e-6)


def test_truth_of_training_images_alone_is_not_measured(domains, tmp_path):
    train = next(row for row in domains.source if row.split == "train")
    truth = {train.id: save_png(tmp_path / "t.png", make_scene(0, (32, 40)))}
    assert measure_truth(domains, truth, {}, seed=0, tick=nothing) is None


def test_a_true_image_of_another_matrix_is_an_error(tmp_path):
    path = save_png(tmp_path / "t.png", make_scene(0, (30, 40)))
    assert require_matrix(path, (30, 40)).pixels.shape == (30, 40)
    with pytest.raises(
        MaskMismatchError, match=r"t\.png: 30 x 40 pixels; expected its source image's 40 x 30"
    ):
        require_matrix(path, (40, 30))


def test_the_worst_are_flagged_images_first_and_then_those_that_kept_least(domains, tmp_path):
    kept = dict(enumerate([0.9, 0.2, math.nan, 0.5, 0.8]))
    rows = [
        {"id": row.id, "flags": ["constant"] if n == 4 else [], "gradient_correlation": kept.get(n, 1.0)}
        for n, row in enumerate(domains.source)
    ]
    worst = write_worst(domains, lambda image: image.image, rows, tmp_path / "worst", 4)
    assert [one["id"][-4:] for one in worst] == ["0004", "0002", "0001", "0003"]
    assert [one["picture"] for one in worst] == [f"worst/worst-{n}.png" for n in (1, 2, 3, 4)]
    picture = load_png(tmp_path / "worst" / "worst-1.png")
    assert picture.shape == (32, 80)
    np.testing.assert_array_equal(picture[:, :40], picture[:, 40:])


def test_no_worst_images_may_be_asked_for(domains, tmp_path):
    rows = [{"id": row.id, "flags": [], "gradient_correlation": 1.0} for row in domains.source]
    assert write_worst(domains, lambda image: image.image, rows, tmp_path / "worst", 0) == []


def test_a_picture_is_8_bit_and_not_taller_than_asked(tmp_path):
    write_picture(tmp_path / "p.png", np.linspace(-1, 1, 100 * 40).reshape(100, 40), side=50)
    assert load_png(tmp_path / "p.png").shape == (50, 20)
    write_picture(tmp_path / "q.png", np.array([[-3.0, -1.0, 0.0, 1.0, 3.0]]))
    assert load_png(tmp_path / "q.png").tolist() == [[0, 0, 128, 255, 255]]
