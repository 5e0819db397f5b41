"""Which source becomes which image: by number alone, evenly, and balanced on request."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_data import STRUCTURES, make_scene, save_png, write_patients, write_source

from medi2i.data.manifest import ManifestRow
from medi2i.errors import NothingUsableError, SplitLeakError, UsageError
from medi2i.image import IntensityMap
from medi2i.io.masks import write_mask_folder
from medi2i.synthesis import SynthesizeConfig
from medi2i.synthesis.draws import DrawPlan, plan_draws
from medi2i.synthesis.sources import Sources, read_sources


def make_sources(views: str, root: Path = Path("nowhere")) -> Sources:
    """One source image a letter: P is PA, A is AP."""
    rows = tuple(
        ManifestRow(
            f"source-{n}",
            "source",
            f"{n}.png",
            f"{n}.png",
            f"{n}",
            8,
            8,
            IntensityMap(0.0, 1.0),
            1.0,
            attributes={"view": {"P": "PA", "A": "AP"}[view]},
        )
        for n, view in enumerate(views)
    )
    return Sources(root, rows, tuple(map(str, range(len(rows)))), True, STRUCTURES, None, ())


def test_each_source_comes_once_in_each_look_before_one_comes_again():
    plan = DrawPlan([range(5)], looks=(2, 1), draws_styles=(True, False), seed=0)
    draws = [plan.draw(number) for number in range(30)]
    for first in (draws[:15], draws[15:]):
        assert Counter((draw.source, draw.run) for draw in first) == Counter(
            {(source, run): 2 - run for source in range(5) for run in (0, 1)}
        )
    assert [draw.source for draw in draws[:15]] != [draw.source for draw in draws[15:]]
    styles = [draw.style for draw in draws if draw.run == 0]
    assert len(set(styles)) == len(styles) == 20
    assert {draw.style for draw in draws if draw.run == 1} == {None}


def test_a_draw_does_not_depend_on_those_before_it():
    plans = [DrawPlan([range(7), range(3)], (1,), (True,), seed=4) for _ in range(2)]
    forward = [plans[0].draw(number) for number in range(40)]
    backward = [plans[1].draw(number) for number in reversed(range(40))]
    assert forward == backward[::-1]
    other = DrawPlan([range(7), range(3)], (1,), (True,), seed=5)
    assert forward != [other.draw(number) for number in range(40)]


def test_rare_views_are_drawn_as_often_when_balanced():
    config = SynthesizeConfig(count=24, balance=("view",), randomise={})
    plan, count = plan_draws(config, make_sources("PPPPPPPA"), [False])
    sources = [plan.draw(number).source for number in range(count)]
    assert sum(source == 7 for source in sources) == 12
    assert set(Counter(source for source in sources if source != 7).values()) <= {1, 2}


def test_rare_structures_are_drawn_about_as_often_when_balanced(tmp_path):
    root = tmp_path / "src"
    for number in range(6):
        save_png(root / "images" / f"{number}.png", make_scene(number, (32, 40)))
        masks = np.zeros((2, 32, 40), dtype=bool)
        masks[1, 4:9, 4:9] = True
        masks[0, 8:20, 8:20] = number == 0  # one image of six shows a heart
        write_mask_folder(root / "masks" / str(number), masks, STRUCTURES)
    sources = read_sources(root, split=(1, 0, 0), seed=0)
    assert sources.shown(0) == {"heart", "lung"}
    assert sources.shown(1) == {"lung"}
    config = SynthesizeConfig(count=24, balance=("structure",), randomise={})
    plan, count = plan_draws(config, sources, [False])
    hearts = sum(plan.draw(number).source == 0 for number in range(count))
    assert hearts == 12 + 2  # every second draw for the heart, and a sixth of the others


def test_images_that_would_come_again_as_they_are_are_refused():
    sources = make_sources("PPA")
    assert plan_draws(SynthesizeConfig(), sources, [False])[1] == 3
    assert plan_draws(SynthesizeConfig(count=3), sources, [False])[1] == 3
    assert plan_draws(SynthesizeConfig(count=50), sources, [True])[1] == 50
    assert plan_draws(SynthesizeConfig(count=50, randomise={}), sources, [False])[1] == 50
    for config in (SynthesizeConfig(count=4), SynthesizeConfig(balance=("view",))):
        with pytest.raises(UsageError, match="3 different images: some would come again"):
            plan_draws(config, sources, [False])


def test_styles_need_a_method_that_draws_them():
    sources = make_sources("PPA")
    assert plan_draws(SynthesizeConfig(styles=4), sources, [True])[1] == 12
    assert plan_draws(SynthesizeConfig(styles=4), sources, [True, False])[1] == 15
    with pytest.raises(UsageError, match="one look"):
        plan_draws(SynthesizeConfig(styles=2), sources, [False])


@pytest.mark.parametrize(
    ("split", "sides"),
    [
        ((0.8, 0.1, 0.1), (4, 1, 1)),  # 4.8, 0.6 and 0.6 of six patients
        ((0.5, 0.25, 0.25), (3, 2, 1)),
        ((1, 0, 0), (6, 0, 0)),
        ((0.34, 0.33, 0.33), (2, 2, 2)),
        ((0.02, 0.0, 0.98), (1, 0, 5)),
    ],
)
def test_patients_are_shared_out_as_the_split_says(split, sides, tmp_path):
    sources = read_sources(write_source(tmp_path / "src"), split=split, seed=0)
    found = {name: set() for name in ("train", "validation", "test")}
    for row, patient in zip(sources.rows, sources.patients, strict=True):
        found[row.split].add(patient)
    assert tuple(len(patients) for patients in found.values()) == sides


def test_the_split_is_the_same_in_every_call_and_another_with_another_seed(tmp_path):
    folder = write_source(tmp_path / "src", images=40, patients=20)
    first, again, other = (read_sources(folder, split=(0.5, 0.25, 0.25), seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint
    assert [row.split for row in first.rows] != [row.split for row in other.rows]


def test_fewer_patients_than_sides_are_refused(tmp_path):
    folder = write_source(tmp_path / "src", images=4, patients=2)
    with pytest.raises(UsageError, match=r"--split 0\.8/0\.1/0\.1: found|2 patient\(s\)"):
        read_sources(folder, split=(0.8, 0.1, 0.1), seed=0)
    assert len(read_sources(folder, split=(0.5, 0, 0.5), seed=0).rows) == 4


def test_splits_of_the_sources_stand_above_and_must_not_leak(tmp_path):
    folder = write_source(tmp_path / "src")
    sides = ["train", "train", "validation", "test", "train", "train"]
    rows = [(f"drr_{n:02d}.png", f"source-{n % 6}", sides[n % 6]) for n in range(12)]
    write_patients(folder, rows, columns="file,patient,split")
    found = read_sources(folder, split=(1, 0, 0), seed=0)
    assert [row.split for row in found.rows] == sides * 2
    rows[6] = (rows[6][0], rows[6][1], "test")
    write_patients(folder, rows, columns="file,patient,split")
    with pytest.raises(SplitLeakError, match="one patient"):
        read_sources(folder, split=(1, 0, 0), seed=0)


def test_the_same_file_of_two_patients_is_on_one_side(tmp_path):
    folder = write_source(tmp_path / "src", images=6, patients=6)
    (folder / "images" / "drr_05.png").write_bytes((folder / "images" / "drr_00.png").read_bytes())
    for seed in range(8):
        found = read_sources(folder, split=(0.5, 0, 0.5), seed=seed)
        assert found.rows[0].split == found.rows[5].split


def test_a_folder_without_one_usable_image_is_told(tmp_path):
    folder = write_source(tmp_path / "src", images=2, masks="png")
    for image in (folder / "images").iterdir():
        image.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(NothingUsableError, match="none usable"):
        read_sources(folder, split=(1, 0, 0), seed=0)
