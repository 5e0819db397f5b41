"""Images in memory: the pixels of `medi2i translate`, in the kind of array that came in."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, Flipd, LoadImaged, RandomizableTrait
from tiny_data import make_scene, save_dicom

from medi2i import Medi2iTranslated, RandMedi2iTranslated, load_translator, translate, translate_array
from medi2i.errors import UnreadableImageError, UsageError
from medi2i.io import read_radiograph
from medi2i.io.reader import RadiographReader
from tests.exporters.untrained import make_run

SHAPE = (60, 44)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    methods = ("cyclegan", "munit", "matchgan", "tone")
    return {method: make_run(tmp_path_factory.mktemp(method) / "run", method) for method in methods}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 12-bit DICOM object with low values white, and a border without image."""
    codes = np.rint(make_scene(7, SHAPE) * 4095).astype(np.uint16)
    codes[:, :6] = 0
    return save_dicom(tmp_path_factory.mktemp("film") / "film.dcm", codes, inverted=True)


def written(run: Path, image: Path, out: Path, **options: object) -> np.ndarray:
    """What `medi2i translate` makes of a file, as it is read again."""
    translate(run, image, out=out, device="cpu", **options)
    (file,) = (out / "images").iterdir()
    return np.load(file) if file.suffix == ".npy" else read_radiograph(file).pixels


def load(film: Path) -> MetaTensor:
    loader = LoadImaged("image", reader=RadiographReader(), ensure_channel_first=True)
    return loader({"image": str(film)})["image"]


ARRAYS = [
    np.rint(make_scene(1, SHAPE) * 255).astype(np.uint8),
    np.rint(make_scene(2, SHAPE) * 65535).astype(np.uint16),
    np.rint(make_scene(3, SHAPE) * 4000 - 2000).astype(np.int16),
    make_scene(4, SHAPE).astype(np.float32)[None],
    1000 * make_scene(5, SHAPE),
]


@pytest.mark.parametrize("method", ["cyclegan", "munit", "matchgan", "tone"])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.ndim}")
def test_an_array_is_translated_as_the_same_array_in_a_file(method, array, runs, tmp_path):
    before = array.copy()
    found = translate_array(load_translator(runs[method], device="cpu"), array)
    np.save(tmp_path / "one.npy", array)
    np.testing.assert_array_equal(found, written(runs[method], tmp_path / "one.npy", tmp_path / "out"))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert np.ptp(found.astype(float)) > 0
    np.testing.assert_array_equal(array, before)


def test_a_metatensor_keeps_its_metadata_and_the_range_of_its_file(runs, film, tmp_path):
    image = load(film)
    found = translate_array(load_translator(runs["cyclegan"], device="cpu"), image)
    assert isinstance(found, MetaTensor)
    np.testing.assert_array_equal(found[0].numpy(), written(runs["cyclegan"], film, tmp_path / "out"))
    assert found.meta["spacing_mm"] == (0.2, 0.3)
    torch.testing.assert_close(found.affine, image.affine)
    assert not image.meta["valid"][:, :6].any()  # the file's own, and what the translation left out
    assert float(found[0, :, :6].max()) == float(found.min())


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.ndim}")
def test_a_plain_tensor_gives_one_of_its_type_with_the_values_of_the_array(array, runs):
    translator = load_translator(runs["cyclegan"], device="cpu")
    image = torch.from_numpy(array)
    found = translate_array(translator, image)
    assert type(found) is torch.Tensor
    assert (found.dtype, found.shape) == (image.dtype, image.shape)
    np.testing.assert_array_equal(found.numpy(), translate_array(translator, array))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_tensor_of_half_precision_keeps_its_type(dtype, runs):
    translator = load_translator(runs["cyclegan"], device="cpu")
    image = torch.from_numpy(ARRAYS[3]).to(dtype)
    found = translate_array(translator, image)
    assert found.dtype == dtype
    wanted = translate_array(translator, image.float())
    torch.testing.assert_close(found.float(), wanted, atol=0.01, rtol=0.01)


def test_a_metatensor_of_integers_keeps_its_type(runs, film):
    translator = load_translator(runs["cyclegan"], device="cpu")
    image = load(film)
    found = translate_array(translator, image.to(torch.int32))
    assert (type(found), found.dtype) == (MetaTensor, torch.int32)
    np.testing.assert_array_equal(found.numpy(), np.rint(translate_array(translator, image).numpy()))


def test_a_valid_area_that_is_given_is_used(runs):
    translator = load_translator(runs["cyclegan"], device="cpu")
    valid = np.zeros(SHAPE, dtype=bool)
    valid[10:50, 4:40] = True
    found = translate_array(translator, ARRAYS[1], valid=valid)
    black = round(65535 * translator.intensities["target"].low)  # -1 in the target's range
    assert set(np.unique(found[~valid])) == {black}


@pytest.mark.parametrize(
    ("style", "options"),
    [
        ("mean", {"style": "mean"}),
        ([0.0, 0.0, 0.0], {"style": "mean"}),
        (np.zeros(3), {"style": "mean"}),
        (0, {"style": "random"}),
        (None, {}),
    ],
)
def test_styles_are_those_of_the_command(style, options, runs, tmp_path):
    found = translate_array(load_translator(runs["munit"], device="cpu"), ARRAYS[1], style=style)
    np.save(tmp_path / "one.npy", ARRAYS[1])
    wanted = written(runs["munit"], tmp_path / "one.npy", tmp_path / "out", **options)
    np.testing.assert_array_equal(found, wanted)


def test_attributes_and_direction_are_those_of_the_command(runs, tmp_path):
    np.save(tmp_path / "one.npy", ARRAYS[1])
    for number, options in enumerate(
        ({"attributes": {"view": "lateral"}}, {"direction": "target-to-source"}), start=1
    ):
        found = translate_array(load_translator(runs["matchgan"], device="cpu"), ARRAYS[1], **options)
        wanted = written(runs["matchgan"], tmp_path / "one.npy", tmp_path / str(number), **options)
        np.testing.assert_array_equal(found, wanted)


def test_what_is_no_image_is_refused(runs):
    translator = load_translator(runs["cyclegan"], device="cpu")
    with pytest.raises(UsageError, match=r"shape \(3, 60, 44\).*one grey radiograph"):
        translate_array(translator, np.zeros((3, *SHAPE)))
    with pytest.raises(UnreadableImageError, match="NaN or infinite"):
        translate_array(translator, np.full(SHAPE, np.nan))
    with pytest.raises(UsageError, match=r"valid: shape \(2, 2\)"):
        translate_array(translator, ARRAYS[0], valid=np.ones((2, 2), dtype=bool))
    with pytest.raises(UsageError, match="which gives each image one look"):
        translate_array(translator, ARRAYS[0], style="random")
    with pytest.raises(UsageError, match="learns one way only"):
        translate_array(load_translator(runs["tone"], device="cpu"), ARRAYS[0], direction="target-to-source")
    with pytest.raises(UsageError, match="style"):
        translate_array(load_translator(runs["munit"], device="cpu"), ARRAYS[0], style=[1.0])


def pipeline(*transforms: object) -> Compose:
    return Compose([LoadImaged("image", reader=RadiographReader(), ensure_channel_first=True), *transforms])


def test_the_transform_gives_the_pixels_of_the_command_in_a_compose(runs, film, tmp_path):
    compose = pipeline(Medi2iTranslated("image", runs["cyclegan"], device="cpu"), Flipd("image", 1))
    found = compose({"image": str(film), "id": 3})
    wanted = written(runs["cyclegan"], film, tmp_path / "out")
    np.testing.assert_array_equal(found["image"][0].numpy(), wanted[:, ::-1])
    assert found["id"] == 3
    assert found["image"].meta["spacing_mm"] == (0.2, 0.3)
    assert not isinstance(compose.transforms[1], RandomizableTrait)
    cached = CacheDataset([{"image": str(film)}], compose, progress=False)
    torch.testing.assert_close(cached[0]["image"], found["image"])


def test_an_image_that_was_turned_since_it_was_read_has_its_field_found_anew(runs, film):
    turned = pipeline(Flipd("image", 1), Medi2iTranslated("image", runs["cyclegan"], device="cpu"))
    found = turned({"image": str(film)})["image"]
    assert float(found[0, :, -6:].max()) == float(found.min())
    assert float(found[0, :, :6].max()) > float(found.min())


def test_a_missing_key_and_a_missing_run_are_errors_with_names(runs, film, tmp_path):
    nothing = Medi2iTranslated("image", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no such folder"):
        nothing({"image": load(film)})
    with pytest.raises(KeyError, match="other"):
        Medi2iTranslated("other", runs["cyclegan"])({"image": load(film)})
    left = Medi2iTranslated("other", runs["cyclegan"], allow_missing_keys=True)({"image": 1})
    assert left == {"image": 1}


def test_random_looks_follow_the_state_and_are_not_cached(runs, film):
    def draws(seed: int) -> list[np.ndarray]:
        transform = RandMedi2iTranslated("image", runs["munit"], device="cpu")
        compose = pipeline(transform).set_random_state(seed)
        return [compose({"image": str(film)})["image"].numpy() for _ in range(2)]

    one, other = draws(0), draws(1)
    assert not np.array_equal(one[0], one[1])
    assert not np.array_equal(one[0], other[0])
    np.testing.assert_array_equal(draws(0), one)
    assert isinstance(RandMedi2iTranslated("image", runs["munit"]), RandomizableTrait)
    with pytest.raises(UsageError, match="use Medi2iTranslated"):
        RandMedi2iTranslated("image", runs["cyclegan"], device="cpu")({"image": load(film)})
    untouched = RandMedi2iTranslated("image", runs["munit"], prob=0, device="cpu")({"image": load(film)})
    torch.testing.assert_close(untouched["image"], load(film))


def test_a_transform_goes_to_worker_processes_without_its_network(runs, film):
    transform = Medi2iTranslated("image", runs["cyclegan"], device="cpu")
    first = transform({"image": load(film)})["image"]
    content = pickle.dumps(transform)
    assert len(content) < 10_000
    again = pickle.loads(content)({"image": load(film)})["image"]  # noqa: S301
    torch.testing.assert_close(again, first)


@pytest.mark.parametrize("direction", ["source_to_target", "backwards"])
def test_a_direction_that_is_none_is_refused_and_not_guessed(direction, runs, tmp_path):
    with pytest.raises(UsageError, match="'source-to-target' or 'target-to-source'"):
        translate_array(load_translator(runs["cyclegan"], device="cpu"), ARRAYS[0], direction=direction)
    np.save(tmp_path / "one.npy", ARRAYS[0])
    with pytest.raises(UsageError, match="direction"):
        translate(
            runs["cyclegan"], tmp_path / "one.npy", out=tmp_path / "out", direction=direction, device="cpu"
        )
    assert not (tmp_path / "out").exists()
