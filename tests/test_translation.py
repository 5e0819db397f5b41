import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_data import (
    SOURCE_SHAPE,
    STRUCTURES,
    load_png,
    make_masks,
    make_scene,
    save_dicom,
    save_png,
    write_source,
    write_target,
)

from medi2i import translate
from medi2i.adapters import DomainAdapter, IdentityConfig
from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import inspect_folder, read_manifest
from medi2i.data.outputs import read_provenance
from medi2i.data.settings import DataConfig
from medi2i.errors import (
    CheckpointError,
    InputError,
    InterruptedRunError,
    NothingUsableError,
    OutputExistsError,
    UsageError,
)
from medi2i.image import IntensityConfig, IntensityMap
from medi2i.io import read_radiograph
from medi2i.io.masks import write_mask_nifti
from medi2i.training.interruption import StopRequest
from medi2i.translation import Translator, load_translator, translate_whole, write_translations
from medi2i.translation.images import _require_unchanged

SHAPE = (33, 42)  # no multiple of 4
SCENE = make_scene(5, SHAPE)


class Linear(DomainAdapter):
    """Pointwise: slope * image + offset, for sides that are multiples of 4."""

    def __init__(self, slope: float, offset: float = 0.0) -> None:
        super().__init__()
        self.slope, self.offset, self.size_multiple = slope, offset, 4

    def translate(self, image, *, direction, valid=None, style=None, attributes=None):
        assert image.shape[-2] % 4 == image.shape[-1] % 4 == 0
        assert valid is not None and valid.shape == image.shape
        return self.slope * image + self.offset


def make_translator(adapter, working_size=None) -> Translator:
    config = DataConfig(working_size=working_size, crop_size=32)
    maps = {"source": IntensityMap(0.0, 1.0), "target": IntensityMap(0.2, 0.6)}
    origin = {"method": "linear", "step": 3, "weights_sha256": "0" * 64}
    return Translator(adapter, config, maps, torch.device("cpu"), origin)


def best_checkpoint(run: Path) -> Path:
    return run / "checkpoints" / (run / "checkpoints" / "BEST").read_text()


def inspected(folder: Path):
    return inspect_folder(discover(folder), "source", IntensityConfig(), salt=b"")[0]


def test_an_image_of_any_size_is_padded_to_the_multiple_and_cut_back():
    image = torch.rand(1, 7, 10)
    adapter = Linear(0.5, 0.1)
    out = translate_whole(adapter, image, torch.ones(1, 7, 10), "source-to-target", torch.device("cpu"))
    torch.testing.assert_close(out, 0.5 * image + 0.1)


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.2])
def test_a_pointwise_translation_at_a_smaller_working_size_keeps_every_detail(slope):
    image = (0.8 * (2 * SCENE - 1)).astype(np.float32)
    translator = make_translator(Linear(slope), working_size=32)
    out, how = translator.translate(image, np.ones(SHAPE, bool), "source-to-target")
    # the network saw 25 x 32 pixels; what it did not see is added with the contrast it gave to the rest
    np.testing.assert_allclose(out, np.clip(slope * image, -1, 1), atol=1e-4)
    assert (how["working_rows"], how["working_columns"]) == (25, 32)
    assert how["detail_gain"] == pytest.approx(slope, abs=1e-3)


def test_detail_is_neither_wiped_out_nor_blown_up():
    image = (2 * SCENE - 1).astype(np.float32)
    for slope, gain in ((0.0, 0.25), (-1.0, 0.25), (50.0, 4.0)):
        translator = make_translator(Linear(slope), working_size=32)
        assert translator.translate(image, np.ones(SHAPE, bool), "source-to-target")[1]["detail_gain"] == gain


def test_at_full_size_the_network_has_the_last_word():
    image = (2 * SCENE - 1).astype(np.float32)
    out, how = make_translator(Linear(0.5)).translate(image, np.ones(SHAPE, bool), "source-to-target")
    np.testing.assert_allclose(out, 0.5 * image, atol=1e-6)
    assert how == {"working_rows": 33, "working_columns": 42, "detail_gain": None}


def test_an_image_smaller_than_the_working_size_comes_back_at_its_own():
    image = (2 * SCENE - 1).astype(np.float32)
    translator = make_translator(Linear(1.0), working_size=84)
    out, how = translator.translate(image, np.ones(SHAPE, bool), "source-to-target")
    assert how == {"working_rows": 66, "working_columns": 84, "detail_gain": None}
    np.testing.assert_allclose(out, image, atol=0.1)


def test_invalid_pixels_are_black():
    image = (2 * SCENE - 1).astype(np.float32)
    valid = np.ones(SHAPE, bool)
    valid[:, :9] = False
    out, _ = make_translator(Linear(0.5)).translate(image, valid, "source-to-target")
    assert (out[~valid] == -1).all()
    np.testing.assert_allclose(out[valid], 0.5 * image[valid], atol=1e-6)


def test_weights_that_give_nan_are_an_error_and_no_image():
    translator = make_translator(Linear(float("nan")))
    with pytest.raises(CheckpointError, match=r"step 3: .*NaN"):
        translator.translate(np.zeros(SHAPE, np.float32), np.ones(SHAPE, bool), "source-to-target")


def test_outputs_have_the_other_domains_range_and_the_inputs_bits(tmp_path):
    valid = np.ones(SHAPE)
    valid[:, :9] = 0
    save_png(tmp_path / "in" / "images" / "x.png", SCENE)
    save_png(tmp_path / "in" / "valid" / "x.png", valid, bits=8)
    rows = inspected(tmp_path / "in")
    translator = make_translator(Linear(1.0))
    stop = StopRequest()
    write_translations(
        translator, rows, tmp_path / "in", tmp_path / "out", direction="source-to-target", stop=stop
    )
    codes = load_png(tmp_path / "out" / "images" / "x.png")
    assert codes.dtype == np.uint16
    # the target's map is 0.2 .. 0.6 of full scale
    assert (codes[:, :9] == round(0.2 * 65535)).all()
    assert (codes[:, 9:].min(), codes[:, 9:].max()) == (round(0.2 * 65535), round(0.6 * 65535))
    record = read_provenance(tmp_path / "out")[0]
    assert record["output_intensity"] == {"low": 0.2, "high": 0.6}
    assert record["clipped_fraction"] == pytest.approx(0.01, abs=0.005)
    assert record["valid_fraction"] == pytest.approx(33 / 42)


def every_format(folder: Path) -> Path:
    """One scene in every format that is read, at several depths."""
    codes = {bits: np.rint(SCENE * (2**bits - 1)).astype(np.uint16) for bits in (8, 12, 16)}
    signed = codes[16].astype(np.int32) - 32768
    save_png(folder / "gray8.png", SCENE, bits=8)
    save_png(folder / "gray16.png", SCENE)
    Image.fromarray(codes[16]).save(folder / "gray16.tif")
    Image.fromarray(SCENE.astype(np.float32)).save(folder / "float.tiff")
    Image.fromarray(codes[8].astype(np.uint8)).save(folder / "lossy.jpg", quality=95)
    np.save(folder / "uint8.npy", codes[8].astype(np.uint8))
    np.save(folder / "int16.npy", signed.astype(np.int16))
    np.save(folder / "float.npy", (SCENE * 30 - 7).astype(np.float32)[None])
    affine = np.diag([0.3, 0.2, 1.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(signed.astype(np.int16).T, affine), folder / "int16.nii.gz")
    nibabel.save(nibabel.Nifti1Image((SCENE * 3).astype(np.float32).T[..., None], affine), folder / "f.nii")
    save_dicom(folder / "cr12.dcm", codes[12])
    save_dicom(folder / "1.2.276.850819", codes[12], inverted=True)
    return folder


FORMATS = {
    "gray8.png": 0,
    "gray16.png": 0,
    "gray16.tif": 0,
    "float.tiff": 0,
    "lossy.jpg": "lossy.png",
    "uint8.npy": 0,
    "int16.npy": 0,
    "float.npy": 0,
    "int16.nii.gz": 0,
    "f.nii": 0,
    "cr12.dcm": 0,
    "1.2.276.850819": "1.2.276.850819.dcm",
}


@pytest.fixture(scope="module")
def there_and_back(identity_run, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("formats")
    (folder / "in").mkdir()
    every_format(folder / "in")
    skipped = translate(identity_run, folder / "in", out=folder / "out", device="cpu")
    assert skipped == []
    return folder / "in", folder / "out"


@pytest.mark.parametrize("name", FORMATS)
def test_the_identity_gives_each_image_back_in_its_format(there_and_back, name):
    inputs, out = there_and_back
    before = read_radiograph(inputs / name)
    after = read_radiograph(out / "images" / (FORMATS[name] or name))
    assert after.header.format == ("png" if name.endswith("jpg") else before.header.format)
    assert (after.header.rows, after.header.columns) == SHAPE
    assert after.header.bits_stored == before.header.bits_stored
    assert after.header.value_range == before.header.value_range
    assert after.header.spacing_mm == before.header.spacing_mm
    if before.header.bits_stored:
        assert np.array_equal(after.pixels, before.pixels)
    else:
        np.testing.assert_allclose(after.pixels, before.pixels, rtol=1e-6)


def test_a_numpy_file_keeps_its_axes_and_dtype(there_and_back):
    inputs, out = there_and_back
    for name in ("uint8.npy", "int16.npy", "float.npy"):
        before, after = np.load(inputs / name), np.load(out / "images" / name)
        assert (after.dtype, after.shape) == (before.dtype, before.shape)


def test_a_nifti_file_keeps_its_affine(there_and_back):
    inputs, out = there_and_back
    before, after = (nibabel.load(folder / "int16.nii.gz") for folder in (inputs, out / "images"))
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.get_data_dtype() == before.get_data_dtype()


@pytest.fixture(scope="module")
def translated(finished_run, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("translated")
    write_source(folder / "in", images=3)
    assert translate(finished_run, folder / "in", out=folder / "out", device="cpu") == []
    return folder / "in", folder / "out"


def test_the_output_is_a_data_set_folder(translated):
    inputs, out = translated
    before, after = inspected(inputs), inspected(out)
    assert [row.output for row in after] == [row.output for row in before]
    assert [(r.rows, r.columns, r.bits_stored) for r in after] == [(*SOURCE_SHAPE, 16)] * 3
    assert [row.structures for row in after] == [STRUCTURES] * 3
    assert [row.spacing_mm for row in after] == [(2.0, 3.0)] * 3
    assert len({row.patient for row in after}) == 3
    for old, new in zip(before, after, strict=True):
        assert (inputs / old.mask).read_bytes() == (out / new.mask).read_bytes()
    assert json.loads((out / "dataset.json").read_text())["synthetic"] is True


def test_provenance_says_how_each_image_was_made(translated, finished_run):
    _, out = translated
    records = read_provenance(out)
    assert [record["id"] for record in records] == ["source-0000", "source-0001", "source-0002"]
    manifest = {row.id: row for row in read_manifest(out / "manifest.jsonl")}
    state = json.loads((best_checkpoint(finished_run) / "state.json").read_text())
    for record in records:
        row = manifest[record["id"]]
        assert record["output"] == f"images/{row.output}"
        assert record["input_sha256"] == row.sha256
        assert record["direction"] == "source-to-target"
        assert (record["method"], record["step"]) == ("cyclegan", state["step"])
        assert len(record["weights_sha256"]) == 64
        assert (record["working_rows"], record["working_columns"]) == (26, 32)
        assert record["input_intensity"] == row.intensity.to_dict()
        assert record["output_intensity"] == state["intensities"]["target"]
        assert record["bits_stored"] == 16


def test_identities_stay_out_of_what_is_written(translated):
    _, out = translated
    texts = [path.read_text() for path in out.iterdir() if path.is_file()]
    assert len(texts) >= 5
    assert not any("source-0\n" in text or ",source-" in text for text in texts)


def test_a_second_call_does_nothing_and_lost_images_are_made_again(translated, finished_run):
    inputs, out = translated
    images = sorted((out / "images").iterdir())
    written = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in images}
    translate(finished_run, inputs, out=out, device="cpu")
    assert all(path.stat().st_mtime_ns == written[path][0] for path in images)
    images[0].unlink()
    images[1].write_bytes(images[2].read_bytes())
    translate(finished_run, inputs, out=out, device="cpu")
    assert [path.read_bytes() for path in images] == [written[path][1] for path in images]
    assert images[2].stat().st_mtime_ns == written[images[2]][0]
    assert sorted(record["id"] for record in read_provenance(out)) == [f"source-{n:04d}" for n in range(3)]


def test_an_interrupted_translation_goes_on_where_it_stopped(finished_run, tmp_path):
    write_source(tmp_path / "in", images=3, masks="png")
    rows = inspected(tmp_path / "in")
    translator = load_translator(finished_run, device="cpu")
    stop = StopRequest()
    stop.requested = True
    for done in (1, 1):  # the second call finds the first image done, and stops before the next
        with pytest.raises(InterruptedRunError) as caught:
            write_translations(
                translator, rows, tmp_path / "in", tmp_path / "out", direction="source-to-target", stop=stop
            )
        assert len(read_provenance(tmp_path / "out")) == done
    assert int(caught.value.exit_code) == 5
    translate(finished_run, tmp_path / "in", out=tmp_path / "out", device="cpu")
    assert len(read_provenance(tmp_path / "out")) == 3
    assert len(list((tmp_path / "out" / "masks").rglob("*.png"))) == 6


def test_the_way_back_uses_the_other_maps(finished_run, tmp_path):
    write_target(tmp_path / "in", images=3)
    out = tmp_path / "out"
    translate(finished_run, tmp_path / "in", out=out, direction="target-to-source", device="cpu")
    state = json.loads((best_checkpoint(finished_run) / "state.json").read_text())
    records = read_provenance(out)
    assert {record["direction"] for record in records} == {"target-to-source"}
    assert all(record["output_intensity"] == state["intensities"]["source"] for record in records)
    assert {item.path.name for item in discover(out).items} == {"film_00.png", "film_01.png", "film_02.png"}


def test_one_file_is_translated(finished_run, domains_folder, tmp_path):
    file = domains_folder / "src" / "images" / "drr_03.png"
    translate(finished_run, file, out=tmp_path / "out", device="cpu")
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["drr_03.png"]


def test_colliding_names_are_kept_apart_with_their_masks(identity_run, tmp_path):
    folder = tmp_path / "in"
    codes = np.rint(SCENE * 255).astype(np.uint8)
    save_png(folder / "images" / "a.png", SCENE, bits=8)
    Image.fromarray(255 - codes).save(folder / "images" / "a.jpg", quality=95)
    for number, name in enumerate(("a.png", "a.jpg")):
        masks = np.roll(make_masks(SHAPE), number, axis=1)
        write_mask_nifti(folder / "masks" / f"{name}.nii.gz", masks, spacing_mm=None)
    (folder / "dataset.json").write_text(json.dumps({"structures": STRUCTURES}))
    translate(identity_run, folder, out=tmp_path / "out", device="cpu")
    items = {item.path.name: item for item in discover(tmp_path / "out").items}
    assert set(items) == {"a.png", "a.jpg.png"}
    assert items["a.png"].mask.read_bytes() == (folder / "masks" / "a.png.nii.gz").read_bytes()
    assert items["a.jpg.png"].mask.read_bytes() == (folder / "masks" / "a.jpg.nii.gz").read_bytes()
    assert np.array_equal(load_png(tmp_path / "out" / "images" / "a.png"), codes)


def test_masks_of_dicom_files_without_suffix_keep_their_dotted_names(identity_run, tmp_path):
    folder = tmp_path / "in"
    save_dicom(folder / "images" / "1.2.276.850819", np.rint(SCENE * 4095))
    masks = folder / "masks" / "1.2.276.850819.nii.gz"
    write_mask_nifti(masks, make_masks(SHAPE), spacing_mm=None)
    (folder / "dataset.json").write_text(json.dumps({"structures": STRUCTURES}))
    translate(identity_run, folder, out=tmp_path / "out", device="cpu")
    item = discover(tmp_path / "out").items[0]
    assert item.relative == Path("1.2.276.850819.dcm")
    assert item.mask.read_bytes() == masks.read_bytes()


def test_an_unusable_image_is_skipped_and_listed(identity_run, tmp_path):
    save_png(tmp_path / "in" / "good.png", SCENE)
    (tmp_path / "in" / "bad.dcm").write_bytes(b"no dicom at all")
    skipped = translate(identity_run, tmp_path / "in", out=tmp_path / "out", device="cpu")
    assert [one.file for one in skipped] == ["bad.dcm"]
    listed = (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in listed] == ["bad.dcm"]
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["good.png"]


def test_nothing_is_written_when_nothing_is_usable(identity_run, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.dcm").write_bytes(b"no dicom at all")
    with pytest.raises(NothingUsableError, match=r"1 image\(s\), none usable"):
        translate(identity_run, tmp_path / "in", out=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_in_use_is_left_alone(identity_run, finished_run, domains_folder, tmp_path):
    file = domains_folder / "src" / "images" / "drr_03.png"
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputExistsError, match="other content"):
        translate(identity_run, file, out=tmp_path, device="cpu")
    with pytest.raises(OutputExistsError, match="other content"):
        translate(identity_run, file, out=finished_run, device="cpu")
    translate(identity_run, file, out=tmp_path / "out", device="cpu")
    with pytest.raises(OutputExistsError, match="another translation"):
        translate(finished_run, file, out=tmp_path / "out", device="cpu")
    with pytest.raises(OutputExistsError, match="another translation"):
        translate(identity_run, file.with_name("drr_04.png"), out=tmp_path / "out", device="cpu")


def test_a_folder_that_is_no_run_is_an_error(domains_folder, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint 'BEST'"):
        translate(tmp_path, domains_folder / "src", out=tmp_path / "out", device="cpu")


def test_a_missing_input_is_a_wrong_path(identity_run, tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        translate(identity_run, tmp_path / "nowhere", out=tmp_path / "out", device="cpu")


def test_the_weights_that_translate_are_the_averaged_ones(finished_run):
    from safetensors.torch import load_file

    translator = load_translator(finished_run, device="cpu")
    folder = best_checkpoint(finished_run)
    averaged, plain = load_file(folder / "average.safetensors"), load_file(folder / "networks.safetensors")
    weights = translator.adapter.state_dict()
    key = next(key for key in averaged if not torch.equal(averaged[key], plain[key]))
    torch.testing.assert_close(weights[key], averaged[key], rtol=0, atol=0)


def test_the_identity_keeps_its_own_range_and_others_take_the_domains():
    own = IntensityMap(0.3, 0.4)
    identity = make_translator(IdentityConfig().build(seed=0))
    assert identity.output_intensity(own, "source-to-target") == own
    other = make_translator(Linear(1.0))
    assert other.output_intensity(own, "source-to-target") == IntensityMap(0.2, 0.6)
    assert other.output_intensity(own, "target-to-source") == IntensityMap(0.0, 1.0)


def test_a_run_shared_without_pieces_of_its_training_images_translates(copied_run, domains_folder, tmp_path):
    for path in copied_run.glob("checkpoints/*/rank-*.safetensors"):
        path.unlink()
    source = domains_folder / "src" / "images" / "drr_00.png"
    assert translate(copied_run, source, out=tmp_path / "out", device="cpu") == []
    assert (tmp_path / "out" / "images" / "drr_00.png").is_file()


def test_an_input_that_changed_since_the_run_began_is_an_error(tmp_path):
    path = save_png(tmp_path / "a.png", np.full((8, 8), 0.5))
    rows, _ = inspect_folder(discover(tmp_path), "source", IntensityConfig(), salt=b"salt")
    _require_unchanged(rows[0], tmp_path)
    save_png(path, np.full((8, 8), 0.6))
    with pytest.raises(InputError, match=r"a\.png: other content"):
        _require_unchanged(rows[0], tmp_path)
