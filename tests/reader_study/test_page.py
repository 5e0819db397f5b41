"""A whole study in a real browser: read, clicked through by keys, saved, scored, reported."""

import json
import re

import pytest
from browser import Browser, find_chromium
from flat_run import make_study

from medi2i.reader_study import score_study

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH: the page can't be opened")

_SEEN = """JSON.stringify((() => {
  const study = JSON.parse(document.getElementById('study').textContent);
  const names = Object.fromEntries(Object.entries(study.pictures).map(([token, data]) => [data, token]));
  const token = (id) => names[document.getElementById(id).src.split(',')[1]];
  return [token('picture-1'), token('picture-2'), document.getElementById('position').textContent];
})())"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(CHROMIUM, tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


def begin(browser, reader):
    browser.evaluate("document.getElementById('reader').focus()")
    browser.write(reader)
    browser.press("Enter")
    browser.wait("!document.getElementById('trial').hidden")


def answer(browser, study, *, fooled, clicks=False):
    """Answer the pair that is waiting; returns its kind, the film's place, and the page's name of it."""
    first, second, name = json.loads(browser.evaluate(_SEEN))
    pair = next(pair for pair in study.key.pairs if {pair.real, pair.other} == {first, second})
    browser.press("Enter")
    browser.wait("!document.getElementById('choose-1').hidden")
    wanted = pair.other if fooled and pair.kind == "trial" else pair.real
    number = 1 if wanted == first else 2
    if clicks:
        browser.evaluate(f"document.getElementById('choose-{number}').click()")
    else:
        browser.press(str(number))
    if pair.kind == "practice":
        said = browser.evaluate("document.getElementById('said').textContent")
        assert said == f"Right: picture {number} is the real film."
        browser.press("Enter")
    return pair.kind, 1 if pair.real == first else 2, name


def save(browser, folder):
    browser.wait("!document.getElementById('end').hidden")
    browser.keep_downloads(folder)
    browser.evaluate("document.getElementById('save').click()")
    browser.wait("document.getElementById('saved').textContent")
    for _ in range(6000):
        if list(folder.glob("*.json")):
            break
        browser.evaluate("new Promise((resolve) => setTimeout(resolve, 10))")


def test_a_whole_study_is_clicked_through_saved_and_scored(browser, tmp_path):
    study = make_study(tmp_path)
    folder = tmp_path / "answers"
    folder.mkdir()
    browser.open(study.page)
    begin(browser, "R-1")
    seen = [answer(browser, study, fooled=number % 2 == 0) for number in range(8)]
    save(browser, folder)
    assert [kind for kind, *_ in seen[:2]] == ["practice"] * 2
    assert sorted(kind for kind, *_ in seen[2:]) == ["check"] * 2 + ["trial"] * 4
    for kind, half in (("practice", 1), ("trial", 2), ("check", 1)):
        assert sum(place == 1 for other, place, _ in seen if other == kind) == half
    names = [name for *_, name in seen]
    assert names[0] == "Practice pair 1 of 2: which one is the real film?"
    assert names[7] == "Pair 6 of 6: which one is the real film?"

    (saved,) = folder.glob("*.json")
    assert saved.name == f"answers-{study.key.study}-R-1.json"
    expected = sum(kind == "trial" and number % 2 == 0 for number, (kind, *_) in enumerate(seen))
    found = score_study(tmp_path / "run", folder)
    assert [(reader.reader, reader.fooled, reader.trials) for reader in found.readers] == [
        ("R-1", expected, 4)
    ]
    answers = json.loads(saved.read_text())["answers"]
    assert all(100 <= shown < 5000 for given in answers for shown in given["shown_ms"])

    assert browser.complaints == []
    assert {re.match(r"[a-z]+:", address)[0] for address in browser.requests} == {"file:", "data:"}
    assert [a for a in browser.requests if a.startswith("file:")] == [study.page.as_uri()]


def test_pictures_are_hidden_before_and_after_their_time(browser, tmp_path):
    study = make_study(tmp_path)
    browser.open(study.page)
    begin(browser, "R-2")
    visible = "[...document.querySelectorAll('#pictures img')].map(i => getComputedStyle(i).visibility)"
    assert browser.evaluate(visible) == ["hidden", "hidden"]
    browser.evaluate(
        "(() => { window.seen = new Set(); const look = () => { window.seen.add(String("
        f"{visible})); requestAnimationFrame(look); }}; look(); }})()"
    )
    browser.press("Enter")
    browser.wait("!document.getElementById('choose-1').hidden")
    seen = set(browser.evaluate("[...window.seen]"))
    assert {"visible,hidden", "hidden,visible"} <= seen
    assert "visible,visible" not in seen
    assert browser.evaluate(visible) == ["hidden", "hidden"]


def test_free_time_shows_both_pictures_and_buttons_work_too(browser, tmp_path):
    study = make_study(tmp_path, seconds=None, practice=0, checks=1)
    folder = tmp_path / "answers"
    folder.mkdir()
    browser.open(study.page)
    begin(browser, "R-3")
    for _ in range(5):
        answer(browser, study, fooled=True, clicks=True)
    save(browser, folder)
    found = score_study(tmp_path / "run", folder)
    assert found.readers[0].share == 1.0 and found.seconds is None
    assert browser.complaints == []


def test_a_wrong_practice_answer_is_told_and_a_name_with_blanks_is_refused(browser, tmp_path):
    study = make_study(tmp_path)
    browser.open(study.page)
    browser.evaluate("document.getElementById('reader').focus()")
    browser.write("Jane Doe")
    browser.press("Enter")
    assert browser.evaluate("document.getElementById('trial').hidden")
    browser.evaluate("document.getElementById('reader').value = ''")
    begin(browser, "R-4")
    first, second, _ = json.loads(browser.evaluate(_SEEN))
    pair = next(pair for pair in study.key.pairs if {pair.real, pair.other} == {first, second})
    browser.press("Enter")
    browser.wait("!document.getElementById('choose-1').hidden")
    browser.press("1" if pair.other == first else "2")
    real = 1 if pair.real == first else 2
    said = browser.evaluate("document.getElementById('said').textContent")
    assert said == f"Wrong: picture {real} is the real film."


def test_the_page_is_readable_at_twice_the_size_and_named_for_screen_readers(browser, tmp_path):
    study = make_study(tmp_path)
    browser.resize(1280, 800, zoom=2.0)
    browser.open(study.page)
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    small = "Math.min(...[...document.querySelectorAll('p, li, label, button, input, kbd')]"
    small += ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    assert browser.evaluate(wide) and browser.evaluate(small) >= 14
    begin(browser, "R-5")
    browser.press("Enter")
    browser.wait("!document.getElementById('choose-1').hidden")
    assert browser.evaluate(wide)
    names = {
        (node["role"]["value"], node["name"]["value"])
        for node in browser.call("Accessibility.getFullAXTree")["nodes"]
        if not node["ignored"] and node.get("name", {}).get("value")
    }
    assert ("button", "1 is the real film") in names and ("button", "2 is the real film") in names
    assert ("heading", "Practice pair 1 of 2: which one is the real film?") in names
    # the keyboard reaches the answers, the first one next
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.id") == "choose-1"
    browser.resize(1280, 800)
