"""The pages in a real browser: nothing asked of a network, nothing cut off at 200 % zoom, keys that work."""

import pytest
from browser import Browser, find_chromium
from evaluated import evaluated
from plain_run import RESULTS, write_run

from medi2i.report import write_comparison, write_report

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH: the pages can't be opened")

_CUT_OFF = """[...document.querySelectorAll('main p, main li, main dd, figcaption, h1, h2, h3')].filter(
  (element) => !element.closest('.scroll') && element.getBoundingClientRect().right > innerWidth
).length"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(CHROMIUM, tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Of a run only adapted, of the same run evaluated, and of both."""
    folder = tmp_path_factory.mktemp("pages")
    adapted, measured = write_run(folder / "a", RESULTS), write_run(folder / "b", evaluated(RESULTS))
    comparison = write_comparison([adapted, measured], folder / "comparison.html")
    return [write_report(adapted), write_report(measured), comparison]


def test_pages_open_without_complaint_or_request_and_fit_at_200_percent(browser, pages):
    for page in pages:
        browser.resize(1280, 900, zoom=2.0)
        browser.open(page)
        # the file itself, and pictures that are in it
        assert {address.split(":")[0] for address in browser.requests} <= {"file", "data"}
        assert [address for address in browser.requests if address.startswith("file")] == [page.as_uri()]
        assert browser.complaints == []
        assert browser.evaluate("innerWidth") == 640
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browser.evaluate(_CUT_OFF) == 0


def test_wide_tables_on_a_narrow_page_say_that_they_scroll(browser, pages):
    browser.open(pages[1])
    unsaid = """[...document.querySelectorAll('.scroll')].filter((box) => box.querySelector('table')
      && box.scrollWidth > box.clientWidth && !box.previousElementSibling?.checkVisibility()).length"""
    shown = "[...document.querySelectorAll('.hint')].filter((line) => line.checkVisibility()).length"
    browser.resize(640, 900)
    assert browser.evaluate(unsaid) == 0 and browser.evaluate(shown) > 5
    browser.resize(1280, 900)
    assert browser.evaluate(shown) == 0


def test_the_keyboard_skips_to_the_report_and_scrolls_a_table(browser, pages):
    browser.resize(1280, 900, zoom=2.0)
    browser.open(pages[1])
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the report"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    browser.press("Enter")
    browser.wait("document.activeElement.id === 'main'")
    for _ in range(40):
        browser.press("Tab")
        if browser.evaluate("document.activeElement.getAttribute('role') === 'region'"):
            break
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_in_print_no_table_or_figure_is_cut_off(browser, pages):
    browser.resize(794, 1123)  # A4 at 96 dots an inch
    browser.open(pages[1])
    browser.call("Emulation.setEmulatedMedia", media="print")
    wide = browser.evaluate("""[...document.querySelectorAll('table, svg, img')].filter(
      (element) => element.getBoundingClientRect().right > innerWidth).length""")
    browser.call("Emulation.setEmulatedMedia", media="")
    assert wide == 0
