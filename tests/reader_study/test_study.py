import base64
import io
import json
import re
from collections import Counter

import numpy as np
import pytest
from flat_run import NAMED, SIDE, FlatDomains, as_translated, make_row, make_rows
from PIL import Image
from pydantic import ValidationError

from medi2i.errors import NothingUsableError, OutputExistsError
from medi2i.reader_study import ReaderStudyConfig, write_study
from medi2i.reader_study.key import read_keys
from medi2i.reader_study.page import mark_practice
from medi2i.reader_study.pictures import encode_png, spoil, to_picture
from medi2i.reader_study.trials import Counts, count_pairs, draw_pairs

CONFIG = ReaderStudyConfig()


def content_of(page):
    return json.loads(re.search(r'id="study">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[1])


@pytest.mark.parametrize(
    ("translations", "films", "expected"),
    [
        (500, 500, Counts(40, 10, 6)),
        # 69 films: 6 for checks, 63 left; 48 pairs, of which 9 (a fifth) are practice, 39 made even
        (48, 69, Counts(38, 9, 6)),
        (12, 12, Counts(8, 2, 1)),
        (4, 5, Counts(4, 0, 1)),
    ],
)
def test_pairs_are_as_many_as_images_last_for(translations, films, expected):
    assert count_pairs(translations, films, CONFIG) == expected


@pytest.mark.parametrize(("translations", "films"), [(3, 60), (60, 4), (0, 0)])
def test_too_few_images_are_refused(translations, films):
    with pytest.raises(NothingUsableError, match=f"{translations} translated images and {films} films"):
        count_pairs(translations, films, CONFIG)


def test_no_image_is_shown_in_two_pairs_and_every_block_has_the_film_once_first():
    pairs = draw_pairs(make_rows("source", 60), make_rows("target", 60), CONFIG, np.random.default_rng(3))
    assert Counter(pair.kind for pair in pairs) == {"trial": 40, "practice": 10, "check": 6}
    films = [pair.real.id for pair in pairs]
    others = [pair.other.id for pair in pairs if pair.kind != "check"]
    assert len(set(films)) == len(films) == 56
    assert len(set(others)) == len(others) == 50
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        assert first.kind == second.kind
        assert first.real_first != second.real_first
    for pair in pairs:
        assert pair.real.kind == "film"
        assert pair.other.kind == ("spoiled" if pair.kind == "check" else "translated")
        assert pair.shown[0 if pair.real_first else 1] == pair.real
    assert 0 < sum(pair.real_first for pair in pairs[::2]) < 28  # drawn, not always the same way round


def test_trials_show_images_never_trained_on_and_as_many_patients_as_there_are():
    rows = [make_row("source", n, split="train") for n in range(20)]
    rows += [make_row("source", 20 + n, patient=f"p{n % 3}") for n in range(6)]
    config = ReaderStudyConfig(trials=4, practice=0, checks=1)
    pairs = draw_pairs(rows, make_rows("target", 20), config, np.random.default_rng(0))
    shown = [int(pair.other.id[-4:]) for pair in pairs if pair.kind == "trial"]
    assert min(shown) >= 20
    assert {(number - 20) % 3 for number in shown[:3]} == {0, 1, 2}


def test_the_seed_decides_everything():
    def draw(seed):
        return draw_pairs(
            make_rows("source", 30), make_rows("target", 30), CONFIG, np.random.default_rng(seed)
        )

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_picture_is_the_central_square_with_black_where_nothing_is_valid():
    image = np.full((4, 8), 1.0, np.float32)
    image[:, :2] = image[:, 6:] = -0.5
    valid = np.ones((4, 8), bool)
    valid[0] = False
    picture = to_picture(image, valid, 4)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, [[0] * 4, [255] * 4, [255] * 4, [255] * 4])
    # -1, 0, 1 are 0, 127.5 (rounded to even: 128), 255
    grey = to_picture(np.array([[-1, 0], [1, 3]], np.float32), np.ones((2, 2), bool), 2)
    np.testing.assert_array_equal(grey, [[0, 128], [255, 255]])


def test_a_spoiled_picture_is_noise_without_edges():
    picture = np.zeros((64, 64), np.uint8)
    picture[:, 32:] = 200
    spoiled = spoil(picture, np.random.default_rng(0))
    # noise of 0.5 in a range of 2 wide is 64 of 255; half of it is cut off where black is
    assert spoiled[:, :16].std() > 30
    assert abs(np.corrcoef(picture.ravel(), spoiled.ravel())[0, 1]) < 0.9
    assert np.diff(picture.astype(int)).max() == 200  # the picture itself is as it was


def test_pngs_hold_pixels_and_nothing_else():
    content = encode_png(np.arange(64, dtype=np.uint8).reshape(8, 8))
    chunks, place = [], 8
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append(content[place + 4 : place + 8])
        place += size + 12
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}


def test_the_page_holds_every_picture_as_8_bit_png_of_one_size(study):
    content = content_of(study.page)
    shown = [
        token for part in ("practice", "scored") for b in content[part] for p in b for token in p["pictures"]
    ]
    assert sorted(shown) == sorted(content["pictures"])
    assert len(shown) == len(set(shown)) == 2 * (4 + 2 + 2)
    kinds = {pair.real: "film" for pair in study.key.pairs}
    for token, data in content["pictures"].items():
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert (image.mode, image.size) == ("L", (SIDE, SIDE))
            if token in kinds:
                assert image.getpixel((3, 3)) >= 200
    assert study.side == SIDE


def test_page_and_key_hold_no_name_and_the_page_no_key(study):
    page, key = study.page.read_text("utf-8"), study.key_path.read_text("utf-8")
    for text in (page, key):
        assert NAMED not in text and "patient-" not in text and ".png" not in text
    without_pictures = json.dumps({k: v for k, v in content_of(study.page).items() if k != "pictures"})
    for word in ("source", "target", "film", "translated", "spoiled", "real", "check", "trial"):
        assert word not in without_pictures
    # only practice pairs carry a mark, which fits the film and not the other picture
    for block in content_of(study.page)["practice"]:
        for pair in block:
            known = study.key.of_kind("practice")[pair["token"]]
            assert pair["mark"] == mark_practice(study.key.study, known.real)
            assert pair["mark"] != mark_practice(study.key.study, known.other)
    assert all("mark" not in pair for block in content_of(study.page)["scored"] for pair in block)


def test_the_practice_mark_is_fnv_1a():
    # FNV-1a of "a:b" by hand of its definition
    value = 2166136261
    for byte in (97, 58, 98):
        value = ((value ^ byte) * 16777619) % 4294967296
    assert mark_practice("a", "b") == f"{value:08x}"


def test_the_page_names_no_address_and_lets_only_its_own_script_run(study):
    page = study.page.read_text("utf-8")
    assert "default-src 'none'" in page and "unsafe" not in page
    assert not re.search(r"https?:|wss?:|@import|url\(|\bfetch\b|XMLHttpRequest|WebSocket|sendBeacon", page)
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/]{43}='", page)) == 2


def test_the_key_is_read_back_and_names_what_trials_show(study):
    assert read_keys(study.key_path.parent.parent) == {study.key.study: study.key}
    assert study.key.splits == {"source": {"test": 4}, "target": {"test": 4}}
    assert study.key.patients == {"source": 4, "target": 4}
    assert study.key_path.name == f"{study.key.study}.json"


def test_a_page_that_readers_may_have_is_not_replaced(study, tmp_path):
    domains = FlatDomains(12, 16)
    before = study.page.read_bytes()
    with pytest.raises(OutputExistsError, match=r"page\.html"):
        write_study(
            domains,
            as_translated,
            translated=domains.source,
            run=tmp_path / "run",
            out=study.page,
            config=CONFIG,
        )
    assert study.page.read_bytes() == before


@pytest.mark.parametrize("wrong", [{"trials": 3}, {"checks": 0}, {"seconds": 0.01}, {"side": 1024}])
def test_settings_have_bounds(wrong):
    with pytest.raises(ValidationError):
        ReaderStudyConfig.model_validate(wrong)
