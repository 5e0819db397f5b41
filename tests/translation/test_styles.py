"""Looks: what is asked for, what the adapter is told, what is written and what provenance says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import STRUCTURES, load_png, make_masks, make_scene, save_png
from torch.testing import assert_close

from medi2i.adapters import DomainAdapter
from medi2i.adapters.base import StyleKind
from medi2i.adapters.stargan_codes import choose_code
from medi2i.data.attributes import AttributesConfig
from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import inspect_folder
from medi2i.data.outputs import read_provenance
from medi2i.data.settings import DataConfig
from medi2i.errors import InputError, UsageError
from medi2i.image import IntensityConfig, IntensityMap
from medi2i.io.masks import write_mask_nifti
from medi2i.similarity.weighting import masked_mean
from medi2i.training.interruption import StopRequest
from medi2i.translation import (
    Look,
    StyleRequest,
    Translator,
    choose_looks,
    methods_where,
    parse_assignments,
    write_translations,
)
from medi2i.translation.translator import domains

SHAPE = (20, 24)
FORWARD = "source-to-target"


class Shade(DomainAdapter):
    """Draw n is a constant of n / 10, the mean 0, a code its first number; a reference's code is its mean."""

    multimodal = True
    styles: tuple[StyleKind, ...] = ("random", "mean", "reference", "interpolate")

    def translate(self, image, *, direction, valid=None, style=None, attributes=None):
        value = {"mean": 0.0, None: 0.0}.get(style) if not isinstance(style, torch.Tensor | int) else None
        value = style[0].item() if isinstance(style, torch.Tensor) else value
        value = style / 10 if isinstance(style, int) else value
        return torch.full_like(image, value + (0 if attributes is None else attributes.sum().item()))

    def sample_styles(self, count, generator):
        return torch.randn(count, 2, generator=generator)

    def encode_style(self, image, domain, valid=None):
        return torch.stack([masked_mean(image, valid), torch.tensor(float(domain == "target"))])[None]


class Drawn(Shade):
    """Has codes and no encoder of them."""

    styles: tuple[StyleKind, ...] = ("random", "mean", "interpolate")


class Single(Shade):
    """One look."""

    multimodal = False
    styles: tuple[StyleKind, ...] = ()


class Told(Single):
    """One look, of the attributes that it is told; laterals are the commonest films."""

    needs_attributes = True
    attributes = AttributesConfig(
        groups={"view": ("PA", "lateral"), "vendor": ("a", "b")},
        sensible=(("target", "lateral", "a"), ("target", "PA", "b"), ("source", "PA", None)),
    )

    def read_attributes(self, values, direction):
        return choose_code(self.attributes, domains(direction)[1], values)


def translator(adapter: DomainAdapter) -> Translator:
    fit = {"target_intensity": IntensityConfig(fit="domain")}
    maps = {"source": IntensityMap(0.0, 1.0), "target": IntensityMap(0.2, 0.6)}
    origin = {"method": "shade", "step": 3, "weights_sha256": "0" * 64}
    config = DataConfig(working_size=None, crop_size=32, **fit)
    return Translator(adapter, config, maps, torch.device("cpu"), origin)


def looks(adapter: DomainAdapter, *, direction=FORWARD, **asked: object) -> tuple[Look, ...]:
    return choose_looks(translator(adapter), direction, StyleRequest(**asked))


def film(path: Path, value: float) -> Path:
    """A film whose mean is `value` of full scale, within 0.2 and 0.6."""
    scene = make_scene(1, SHAPE, film=True)
    return save_png(path, value + 0.1 * (scene - scene.mean()))


def mean_of(value: float) -> float:
    """What the target's map, 0.2 to 0.6 of full scale, makes of a mean; it is affine."""
    return 2 * (value - 0.2) / 0.4 - 1


def test_a_method_without_styles_has_one_look_and_says_nothing_of_it():
    assert looks(Single()) == (Look(),)


def test_a_method_with_styles_chooses_its_own_first():
    assert looks(Shade()) == (Look(style=0, facts={"style": "random", "draw": 0}),)


def test_draws_are_numbered_and_their_names_sort():
    drawn = looks(Shade(), draws=3)
    assert [look.style for look in drawn] == [0, 1, 2]
    assert [look.suffix for look in drawn] == ["_s00", "_s01", "_s02"]
    assert looks(Shade(), draws=101)[7].suffix == "_s007"
    assert len({look.key for look in drawn}) == 3


def test_the_mean_is_one_look():
    assert looks(Shade(), style="mean") == (Look(style="mean", facts={"style": "mean"}),)


def test_references_are_normalised_as_the_output_domains_images_and_averaged(tmp_path):
    one = film(tmp_path / "one.png", 0.3)
    film(tmp_path / "more" / "two.png", 0.5)
    film(tmp_path / "more" / "three.png", 0.4)
    (look,) = looks(Shade(), style="reference", references=(one, tmp_path / "more"))
    wanted = (mean_of(0.3) + mean_of(0.5) + mean_of(0.4)) / 3
    assert_close(look.style, torch.tensor([wanted, 1.0]), atol=1e-4, rtol=0)
    assert look.facts["code"] == pytest.approx([wanted, 1.0], abs=1e-4)
    assert [len(hashed) for hashed in look.facts["references"]] == [64] * 3
    assert "one" not in look.key
    (back,) = looks(Shade(), style="reference", references=(one,), direction="target-to-source")
    assert back.style[1] == 0  # read as an image of the source


def test_an_image_that_is_named_twice_counts_once(tmp_path):
    one = film(tmp_path / "films" / "one.png", 0.3)
    film(tmp_path / "films" / "two.png", 0.5)
    (look,) = looks(Shade(), style="reference", references=(one, tmp_path / "films"))
    assert look.style[0].item() == pytest.approx((mean_of(0.3) + mean_of(0.5)) / 2, abs=1e-4)
    assert len(look.facts["references"]) == 2


def test_a_reference_of_no_image_format_is_named_once(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("words")
    with pytest.raises(InputError) as refused:
        looks(Shade(), style="reference", references=(file,))
    assert str(refused.value).count("README.md") == str(refused.value).count("expected") == 1


def test_a_line_between_two_references_has_both_ends(tmp_path):
    ends = (film(tmp_path / "a.png", 0.3), film(tmp_path / "b.png", 0.5))
    line = looks(Shade(), style="interpolate", references=ends, draws=5)
    values = [look.style[0].item() for look in line]
    np.testing.assert_allclose(values, np.linspace(mean_of(0.3), mean_of(0.5), 5), atol=1e-4)
    assert [look.facts["fraction"] for look in line] == [0, 0.25, 0.5, 0.75, 1]


def test_a_line_between_two_drawn_styles_is_the_same_every_time():
    line, again = (looks(Drawn(), style="interpolate", draws=3) for _ in range(2))
    assert_close(line[1].style, (line[0].style + line[2].style) / 2)
    assert not torch.equal(line[0].style, line[2].style)
    assert [look.key for look in line] == [look.key for look in again]


@pytest.mark.parametrize(
    ("adapter", "asked", "message"),
    [
        (Single(), {"style": "random"}, r"one look.*munit, randomisation, tone"),
        (Single(), {"draws": 2}, "--draws or --reference: method 'shade', which gives each image one look"),
        (Drawn(), {"style": "reference", "references": ("film",)}, r"no style encoder.*a run of munit"),
        (Drawn(), {"style": "reference"}, "no style encoder"),
        (Shade(), {"style": "mean", "draws": 2}, "all looks of --style mean are equal"),
        (Shade(), {"style": "reference"}, "no reference"),
        (Shade(), {"style": "reference", "references": ("a",), "draws": 2}, "are equal"),
        (Shade(), {"style": "interpolate"}, "add --draws"),
        (Shade(), {"style": "interpolate", "draws": 3, "references": ("a",)}, "1 --reference; expected two"),
        (Shade(), {"references": ("a",)}, "--reference beside it"),
        (Drawn(), {"style": "interpolate", "draws": 3, "references": ("a", "b")}, "no style encoder"),
        (Single(), {"attributes": {"view": "PA"}}, "--attribute: method 'shade', which knows no attributes"),
    ],
)
def test_what_does_not_fit_is_refused(adapter, asked, message):
    with pytest.raises(UsageError, match=message):
        looks(adapter, **asked)


def test_a_reference_that_is_no_radiograph_is_named(tmp_path):
    film(tmp_path / "films" / "good.png", 0.3)
    (tmp_path / "films" / "bad.dcm").write_bytes(bytes(128) + b"DICM" + b"broken")
    with pytest.raises(InputError, match=r"films/bad\.dcm: "):
        looks(Shade(), style="reference", references=(tmp_path / "films",))
    with pytest.raises(UsageError, match="no such file"):
        looks(Shade(), style="reference", references=(tmp_path / "nowhere.png",))


def test_attributes_reach_the_adapter_and_provenance():
    (look,) = looks(Told(), attributes={"view": "PA"})
    assert look.attributes.tolist() == [0, 1, 1, 0, 0, 1]
    assert look.facts["attributes"] == {"domain": "target", "view": "PA", "vendor": "b"}


def test_what_the_method_chose_itself_is_told_and_recorded_too():
    (look,) = looks(Told())
    assert look.attributes.tolist() == [0, 1, 0, 1, 1, 0]
    assert look.facts["attributes"] == {"domain": "target", "view": "lateral", "vendor": "a"}
    (back,) = looks(Told(), direction="target-to-source")
    assert back.attributes.tolist() == [1, 0, 1, 0, -1, -1]
    assert back.facts["attributes"] == {"domain": "source", "view": "PA", "vendor": None}
    assert looks(Single())[0].attributes is None


def test_assignments_are_read_once_each():
    assert parse_assignments(["view=PA", "vendor = a=b"], "--attribute") == {"view": "PA", "vendor": "a=b"}
    for wrong in (["view"], ["view="], ["=PA"], ["view=PA", "view=AP"]):
        with pytest.raises(UsageError, match="--attribute"):
            parse_assignments(wrong, "--attribute")


def test_methods_are_found_by_what_they_offer():
    assert methods_where("styles") == ["munit", "randomisation", "tone"]
    assert methods_where("styles", "reference") == ["munit"]
    assert "cyclegan" in methods_where("bidirectional")
    assert "tone" not in methods_where("bidirectional")


@pytest.fixture
def masked(tmp_path) -> Path:
    folder = tmp_path / "in"
    for name in ("a", "b"):
        save_png(folder / "images" / f"{name}.png", make_scene(ord(name), SHAPE))
        masks = np.roll(make_masks((40, 40)), ord(name), axis=1)[:, : SHAPE[0], : SHAPE[1]]
        write_mask_nifti(folder / "masks" / f"{name}.nii.gz", masks, spacing_mm=None)
    (folder / "dataset.json").write_text(json.dumps({"structures": STRUCTURES}))
    return folder


def write(folder: Path, out: Path, chosen: tuple[Look, ...]) -> list[dict]:
    rows, _ = inspect_folder(discover(folder), "source", IntensityConfig(), salt=b"")
    write_translations(
        translator(Shade()), rows, folder, out, direction=FORWARD, stop=StopRequest(), looks=chosen
    )
    return read_provenance(out)


def test_every_draw_is_written_with_its_images_masks(masked, tmp_path):
    out = tmp_path / "out"
    records = write(masked, out, looks(Shade(), draws=3))
    assert [record["output"] for record in records] == [
        f"images/{name}_s0{draw}.png" for name in ("a", "b") for draw in range(3)
    ]
    assert [(record["style"], record["draw"]) for record in records] == [("random", n) for n in range(3)] * 2
    assert len({record["key"] for record in records}) == 6
    assert [record["id"] for record in records] == ["source-0000"] * 3 + ["source-0001"] * 3
    for record in records:
        # 0.1 n of [-1, 1], as the target's map stores it: 0.2 + 0.4 (0.1 n + 1) / 2
        stored = 0.4 + 0.02 * record["draw"]
        assert (load_png(out / record["output"]) == round(stored * 65535)).all()
    items = {item.path.stem: item for item in discover(out).items}
    assert len(items) == 6
    for stem, item in items.items():
        assert item.mask.read_bytes() == (masked / "masks" / f"{stem[0]}.nii.gz").read_bytes()


def test_lost_draws_alone_are_made_again(masked, tmp_path):
    out, chosen = tmp_path / "out", looks(Shade(), draws=2)
    write(masked, out, chosen)
    images = sorted((out / "images").iterdir())
    before = {path: path.stat().st_mtime_ns for path in images}
    images[1].unlink()
    assert len(write(masked, out, chosen)) == 4
    assert images[1].is_file()
    assert all(path.stat().st_mtime_ns == before[path] for path in images if path != images[1])
