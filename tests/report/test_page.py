import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from medi2i.errors import CheckpointError
from medi2i.report import write_report


class Page(HTMLParser):
    """Elements, addresses and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_says_what_the_numbers_say(results, make_run):
    path = write_report(make_run(results))
    assert path.name == "report.html"
    html = path.read_text(encoding="utf-8")
    text = " ".join(Page(html).text)
    assert "Translation report: cyclegan" in text
    assert "Seed 7 · finished 2025-11-02 12:34" in text
    assert "with structure kept" in text
    assert "<td>0.25</td>" in html
    assert "Against true target images" not in text


def test_the_page_needs_nothing_but_itself(results, truth, make_run):
    results["truth"] = truth
    results["worst"] = [{"id": "source-0003", "picture": "worst/worst-1.png"}]
    html = write_report(make_run(results)).read_text(encoding="utf-8")
    page = Page(html)
    forbidden = {"script", "link", "iframe", "object", "embed", "base"}
    assert not forbidden & {tag for tag, _ in page.elements}
    # names of XML namespaces are no addresses: nothing is fetched from them
    without_namespaces = re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)
    assert "http:" not in without_namespaces and "https:" not in without_namespaces
    assert "@import" not in html
    assert all(address.startswith("#") for address in re.findall(r"url\(([^)]*)\)", html))
    for tag, attributes in page.elements:
        for name in {"src", "href", "xlink:href"} & attributes.keys():
            assert attributes[name].startswith("data:image/png" if tag == "img" else "#")


def test_pictures_are_inlined_as_they_are_with_a_text_for_who_cannot_see_them(results, make_run):
    results["worst"] = [{"id": "source-0003", "picture": "worst/worst-1.png"}]
    results["images"][3] |= {"gradient_correlation": 0.31, "flags": ["nonfinite"], "split": "test"}
    run = make_run(results)
    (image,) = Page(write_report(run).read_text(encoding="utf-8")).all("img")
    assert base64.b64decode(image["src"].partition(",")[2]) == (run / "worst/worst-1.png").read_bytes()
    assert image["alt"] == (
        "source-0003: left the source, right its translation (gradient correlation 0.31, test, not finite)"
    )


def test_names_from_the_file_can_not_become_markup(results, make_run):
    evil = '<script>alert("x")</script> $\\frac{1}{$'
    results["run"]["method"] = evil
    results["warnings"] = [evil]
    results["data"]["source"]["structures"] = ["<img src=x onerror=alert(1)>"]
    results["worst"] = [{"id": '"><b>', "picture": "worst/1.png"}]
    html = write_report(make_run(results)).read_text(encoding="utf-8")
    page = Page(html)
    assert not page.all("script") and not page.all("b")
    assert [image["src"][:5] for image in page.all("img")] == ["data:"]
    assert evil in "".join(page.text)


def test_figures_are_well_formed_take_the_pages_colours_and_do_not_clash(results, make_run):
    html = write_report(make_run(results)).read_text(encoding="utf-8")
    figures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(figures) == 2
    for figure in figures:
        root = ElementTree.fromstring(figure)  # noqa: S314 (made two lines above)
        assert root.get("viewBox") and root.get("height") is None
        assert "metadata" not in figure and "DOCTYPE" not in figure
        assert set(re.findall(r"#[0-9a-f]{6}\b", figure)) <= {"#ffffff", "#000000"}
        assert "var(--translated)" in figure
    labelled = [a for a in Page(html).all("div") if a.get("role") == "img"]
    assert len(labelled) == 2 and all(a["aria-label"] for a in labelled)
    identifiers = [attributes["id"] for _, attributes in Page(html).elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {address[1:] for address in re.findall(r'(?:href="|url\()(#[^")]*)', html)} <= set(identifiers)


def test_tables_name_their_rows_and_columns(results, make_run):
    html = write_report(make_run(results)).read_text(encoding="utf-8")
    assert 'class="own"' in html
    assert html.count('scope="row"') > 20 and 'scope="col"' in html


def test_everything_undefined_still_makes_a_page(results, make_run):
    for row in ("floor", "identity", "histogram", "translated"):
        results["distance_groups"][row] = dict.fromkeys(results["distance_groups"][row])
    for floor in results["floors"].values():
        floor |= {"mean": None, "sd": None}
    for method in results["structure"].values():
        for summary in method.values():
            summary |= {"p5": None, "median": None, "p95": None}
            summary["mean"] |= {"estimate": None, "low": None, "high": None, "n_images": 0, "n_patients": 0}
    for image in results["images"]:
        image["gradient_correlation"] = None
    html = write_report(make_run(results)).read_text(encoding="utf-8")
    text = " ".join(Page(html).text)
    assert "The distance to the target is undefined" in text
    assert "Undefined for every image." in text
    assert "<svg" not in html
    assert not re.search(r"\b(None|nan|null)\b", text)


def test_a_position_far_beyond_the_scale_is_written_at_its_edge(results, make_run):
    results["distance_groups"]["translated"]["gradient"] = 12.0  # of 1 when nothing is done
    html = write_report(make_run(results)).read_text(encoding="utf-8")
    assert "12.0 (beyond)" in html


def test_every_group_has_its_band_of_chance(results, make_run):
    def bands():
        html = write_report(make_run(results)).read_text(encoding="utf-8")
        return html.count("fill: var(--band)")

    assert bands() == 4
    # doing nothing is at 0.8 in the spectrum: with a spread of 0.5 that is no gap, and no scale for a band
    results["floors"]["spectrum"]["sd"] = 0.5
    assert bands() == 3


def test_the_page_names_the_versions_it_was_computed_with(results, make_run):
    html = write_report(make_run(results)).read_text(encoding="utf-8")
    assert "python 3.11.9, torch 2.10.0, monai 1.6.1, numpy 2.1.0" in html


def test_the_same_results_give_the_same_page(results, make_run):
    run = make_run(results)
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_a_run_without_results_is_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match="no such file") as caught:
        write_report(tmp_path)
    assert caught.value.subject == str(tmp_path / "results.json")
    assert "--resume" in caught.value.remedy
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"format": 1, "run"', "Invalid JSON"),
        (b"\xff\xfe\x00", "Invalid JSON"),
        (b"[]", "the file: Input should be"),
        (b"{}", "format: Field required"),
    ],
)
def test_damaged_results_are_refused_with_what_is_wrong(tmp_path, content, found):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=found):
        write_report(tmp_path)


def test_another_format_and_numbers_that_are_none_are_refused(results, make_run):
    results["format"] = 2
    results["floors"]["all"]["sd"] = float("nan")
    with pytest.raises(CheckpointError, match="format: Input should be 1") as caught:
        write_report(make_run(results))
    assert "floors.all.sd: Input should be a finite number" in caught.value.found


def test_a_picture_that_is_missing_or_no_png_is_refused(results, make_run):
    results["worst"] = [{"id": "source-0003", "picture": "worst/worst-1.png"}]
    run = make_run(results)
    (run / "worst/worst-1.png").write_bytes(b"<svg onload=alert(1)>")
    with pytest.raises(CheckpointError, match="no PNG"):
        write_report(run)
    (run / "worst/worst-1.png").unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        write_report(run)


def test_pictures_outside_the_run_are_never_read(results, make_run):
    run = make_run(results)
    results["worst"] = [{"id": "source-0003", "picture": "../secret.png"}]
    (run / "results.json").write_text(json.dumps(results), encoding="utf-8")
    with pytest.raises(CheckpointError, match="outside the run folder"):
        write_report(run)


def test_importing_the_report_imports_neither_torch_nor_matplotlib():
    code = "import sys, medi2i.report; print({'torch', 'matplotlib', 'jinja2', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_drawing_the_report_never_imports_torch(results, make_run):
    code = (
        "import sys; from pathlib import Path; from medi2i.report import write_report;"
        "write_report(Path(sys.argv[1])); print('torch' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(make_run(results))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
