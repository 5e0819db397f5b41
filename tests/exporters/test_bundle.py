"""The bundle: MONAI's own loader runs it, and its files are those of `medi2i translate`, byte for byte."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out
from safetensors.torch import load_file
from tiny_data import make_scene, save_dicom, save_png

from medi2i import export, translate
from medi2i.exporters import TranslationNetwork
from medi2i.io import read_radiograph
from tests.exporters.untrained import ADAPTERS, INTENSITIES, make_run

METHODS = ("cyclegan", "munit", "opgan", "matchgan", "tone")
SHAPES = ((40, 50), (48, 48), (83, 61))  # smaller than, equal to and larger than the working size, 48


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set folder: PNGs of three sizes and two depths, a DICOM object, and a valid area."""
    folder = tmp_path_factory.mktemp("films")
    for number, shape in enumerate(SHAPES):
        save_png(folder / "images" / f"{number}.png", make_scene(number, shape), bits=(16, 8, 16)[number])
    codes = np.rint(make_scene(7, (60, 44)) * 4095).astype(np.uint16)
    save_dicom(folder / "images" / "d.dcm", codes, inverted=True)
    valid = np.zeros(SHAPES[0])
    valid[3:30, 5:45] = 1
    save_png(folder / "valid" / "0.png", valid, bits=8)
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory):
    """(run, bundle) of a method and direction, made when they are asked for."""
    made: dict[tuple[str, str], tuple[Path, Path]] = {}

    def bundle(method: str, direction: str = "source-to-target") -> tuple[Path, Path]:
        if (method, direction) not in made:
            folder = tmp_path_factory.mktemp(method)
            run = make_run(folder / "run", method)
            export(run, to="bundle", out=folder / "bundle", direction=direction)
            made[method, direction] = run, folder / "bundle"
        return made[method, direction]

    return bundle


def workflow(bundle: Path, images: Path, out: Path, **override: object) -> ConfigWorkflow:
    return ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="inference",
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(images),
        output_dir=str(out),
        device="cpu",
        **override,
    )


def run_bundle(bundle: Path, images: Path, out: Path, **override: object) -> None:
    loaded = workflow(bundle, images, out, **override)
    loaded.initialize()
    loaded.run()
    loaded.finalize()


def contents(folder: Path) -> dict[str, np.ndarray]:
    """Pixels by name: DICOM objects of one image differ in identifiers and times."""
    return {path.name: read_radiograph(path).pixels for path in sorted(folder.iterdir())}


def assert_same(bundle_out: Path, translated: Path) -> None:
    found, wanted = contents(bundle_out), contents(translated / "images")
    assert list(found) == list(wanted) == ["0.png", "1.png", "2.png", "d.dcm"]
    for name, pixels in wanted.items():
        assert len(np.unique(pixels)) > 50  # not saturated
        np.testing.assert_array_equal(found[name], pixels, err_msg=name)
        if name.endswith(".png"):
            assert (bundle_out / name).read_bytes() == (translated / "images" / name).read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_monai_runs_the_bundle_with_the_pixels_of_translate(method, bundles, images, tmp_path):
    run, bundle = bundles(method)
    run_bundle(bundle, images, tmp_path / "bundle")
    assert translate(run, images, out=tmp_path / "ours", device="cpu") == []
    assert_same(tmp_path / "bundle", tmp_path / "ours")


def test_the_other_direction_is_a_bundle_of_its_own(bundles, images, tmp_path):
    run, bundle = bundles("cyclegan", "target-to-source")
    run_bundle(bundle, images, tmp_path / "bundle")
    translate(run, images, out=tmp_path / "ours", direction="target-to-source", device="cpu")
    assert_same(tmp_path / "bundle", tmp_path / "ours")
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert {key.split(".")[1] for key in weights} == {"target_to_source"}


def test_a_bundle_of_munit_takes_styles(bundles, images, tmp_path):
    run, bundle = bundles("munit")
    for name, style, options in (("mean", "mean", {"style": "mean"}), ("code", [0.0, 0.0, 0.0], None)):
        run_bundle(bundle, images, tmp_path / name, style=style)
        if options is not None:
            translate(run, images, out=tmp_path / "ours", device="cpu", **options)
        assert_same(tmp_path / name, tmp_path / "ours")  # the mean of N(0, 1) is the code 0
    run_bundle(bundle, images, tmp_path / "other", style=[2.0, -1.0, 0.5])
    one, other = contents(tmp_path / "mean")["0.png"], contents(tmp_path / "other")["0.png"]
    assert not np.array_equal(one, other)


def test_a_bundle_of_matchgan_takes_attributes(bundles, images, tmp_path):
    run, bundle = bundles("matchgan")
    run_bundle(bundle, images, tmp_path / "bundle", attributes={"view": "lateral"})
    translate(run, images, out=tmp_path / "ours", device="cpu", attributes={"view": "lateral"})
    assert_same(tmp_path / "bundle", tmp_path / "ours")
    run_bundle(bundle, images, tmp_path / "plain")
    assert not np.array_equal(contents(tmp_path / "plain")["0.png"], contents(tmp_path / "bundle")["0.png"])


@pytest.mark.parametrize("method", METHODS)
def test_the_weights_are_a_plain_state_dict_of_what_translates(method, bundles):
    run, bundle = bundles(method)
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert type(weights) is dict
    beside = load_file(bundle / "models" / "model.safetensors")
    assert weights.keys() == beside.keys()
    assert all(torch.equal(weights[key], beside[key]) for key in weights)
    assert not [key for key in weights if "discriminator" in key or "siamese" in key]
    network = TranslationNetwork({"name": method} | ADAPTERS[method], "source-to-target")
    network.load_state_dict(weights)
    trained = load_file(run / "checkpoints" / "step-0000000" / "networks.safetensors")
    assert all(torch.equal(trained[key.removeprefix("adapter.")], value) for key, value in weights.items())


def test_monai_finds_every_property_it_asks_of_an_inference_bundle(bundles, images, tmp_path):
    _, bundle = bundles("cyclegan")
    loaded = workflow(bundle, images, tmp_path)
    loaded.initialize()
    assert loaded.check_properties() == []
    assert (loaded.version, loaded.bundle_root) == ("0.1.0", str(bundle))
    assert len(loaded.dataset) == 4
    assert loaded.dataset[0]["image"].shape == (1, 40, 48)


@pytest.mark.parametrize("method", METHODS)
def test_monai_verifies_shape_and_type_of_in_and_output(method, bundles, tmp_path):
    _, bundle = bundles(method)
    configs = bundle / "configs"
    arguments = {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "inference.json")}
    verify_net_in_out("network_def", device="cpu", n=12, **arguments)
    # it does refuse: a network of one channel that says it gives two
    metadata = json.loads((configs / "metadata.json").read_text())
    metadata["network_data_format"]["outputs"]["pred"]["num_channels"] = 2
    wrong = tmp_path / "metadata.json"
    wrong.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="output channel number"):
        verify_net_in_out("network_def", device="cpu", n=12, **(arguments | {"meta_file": str(wrong)}))


# what MONAI's documentation says of metadata.json (docs/source/mb_specification.rst), as a schema of ours:
# the published one is downloaded, and tests download nothing
TEXT, TEXTS = (
    {"type": "string", "minLength": 1},
    {"type": "object", "additionalProperties": {"type": "string"}},
)
FORMAT = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "type": "object",
        "required": [
            "type",
            "format",
            "num_channels",
            "spatial_shape",
            "dtype",
            "value_range",
            "is_patch_data",
        ],
        "properties": {
            "type": {"enum": ["image", "tuple", "probabilities", "series"]},
            "format": TEXT,
            "modality": TEXT,
            "num_channels": {"type": "integer", "minimum": 1},
            "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
            "dtype": TEXT,
            "value_range": {"type": "array", "items": {"type": "number"}},
            "is_patch_data": {"type": "boolean"},
            "channel_def": TEXTS,
        },
    },
}
_NAMES = (
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "task",
    "description",
    "authors",
    "copyright",
)
SCHEMA = {
    "type": "object",
    "required": [*_NAMES, "changelog", "required_packages_version", "network_data_format"],
    "properties": {
        **dict.fromkeys(_NAMES, TEXT),
        "changelog": TEXTS,
        "required_packages_version": TEXTS,
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {"inputs": FORMAT, "outputs": FORMAT},
        },
    },
}


def test_monais_schema_check_accepts_the_metadata(bundles, tmp_path):
    pytest.importorskip("jsonschema", reason="MONAI's verify_metadata needs the package jsonschema")
    from monai.bundle import verify_metadata

    _, bundle = bundles("munit")
    schema = tmp_path / "schema.json"  # a file that is there is not downloaded
    schema.write_text(json.dumps(SCHEMA))
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    known = {"filepath": str(schema), "hash_val": hashlib.md5(schema.read_bytes()).hexdigest()}  # noqa: S324
    verify_metadata(str(bundle / "configs" / "metadata.json"), **known)
    (tmp_path / "wrong.json").write_text(json.dumps(metadata | {"task": 3}))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(str(tmp_path / "wrong.json"), **known)


def test_versions_are_numbers_and_the_map_is_in_the_transforms(bundles):
    _, bundle = bundles("cyclegan")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    for key in ("version", "monai_version", "pytorch_version", "numpy_version"):
        assert re.match(r"\d+\.\d+\.\d+", metadata[key])
    assert "medi2i" in metadata["required_packages_version"]
    inference = json.loads((bundle / "configs" / "inference.json").read_text())
    before = inference["preprocessing"]["transforms"][1]["intensity"]
    after = inference["postprocessing"]["transforms"][0]["intensity"]
    assert before == {
        "fit": "image",
        "lower_percentile": 0.5,
        "upper_percentile": 99.5,
        **INTENSITIES["source"].to_dict(),
    }
    assert after == INTENSITIES["target"].to_dict()


def test_only_four_expressions_of_a_bundle_are_evaluated_beside_paths(bundles):
    _, bundle = bundles("tone")
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    evaluated = re.findall(r'"(\$[^"]*)"', (bundle / "configs" / "inference.json").read_text())
    assert [text for text in evaluated if "bundle_root" not in text] == [
        "$import torch",
        "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "$@network_def.to(@device)",
        "$@network_def.load_state_dict(torch.load(@checkpoint, map_location='cpu', weights_only=True))",
        "$@evaluator.run()",
    ]


def test_a_card_says_what_was_trained_on_by_hash_and_what_was_measured(finished_run, tmp_path):
    bundle = export(finished_run, to="bundle", out=tmp_path / "bundle").folder
    card = (bundle / "docs" / "README.md").read_text()
    results = json.loads((finished_run / "results.json").read_text())
    kept = results["structure"]["translated"]["gradient_correlation"]["median"]
    assert f"gradient correlation with the source, 1 is all of it: median {kept:.3f}" in card
    assert results["run"]["weights_sha256"] in card
    assert "no certificate: the run was not evaluated" in card
    data = json.loads((bundle / "docs" / "training_data.json").read_text())
    rows = [json.loads(line) for line in (finished_run / "manifest.jsonl").read_text().splitlines()]
    listed = {one for splits in data.values() for split in splits.values() for one in split["images_sha256"]}
    assert listed == {row["sha256"] for row in rows}
    assert data["source"]["train"]["sha256"][:16] in card
    text = card + json.dumps(data)
    assert not [row["file"] for row in rows if Path(row["file"]).stem in text]
    assert not [row["patient"] for row in rows if row["patient"] and row["patient"] in text]


def test_a_card_does_not_claim_another_weights_results(copied_run, tmp_path):
    results = json.loads((copied_run / "results.json").read_text())
    results["run"]["weights_sha256"] = "0" * 64
    (copied_run / "results.json").write_text(json.dumps(results))
    bundle = export(copied_run, to="bundle", out=tmp_path / "bundle").folder
    assert "Nothing was measured of these weights" in (bundle / "docs" / "README.md").read_text()


def test_a_bundle_moved_elsewhere_still_runs(bundles, images, tmp_path, monkeypatch):
    _, bundle = bundles("cyclegan")
    moved = Path(shutil.copytree(bundle, tmp_path / "moved"))
    monkeypatch.chdir(moved)
    loaded = ConfigWorkflow(
        config_file="configs/inference.json",
        workflow_type="inference",
        logging_file=False,
        dataset_dir=str(images),
        device="cpu",
    )
    loaded.initialize()
    assert loaded.run() == [4]
    assert len(list((moved / "translated").iterdir())) == 4
