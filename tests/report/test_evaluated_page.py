"""The page of an evaluated run as an HTML parser, a screen reader and a hurried reader meet it."""

import copy
import itertools
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from evaluated import evaluated
from plain_run import RESULTS, write_run

from medi2i.report import control_figures, figures, usefulness_figures, write_comparison, write_report
from medi2i.report.layout import read_part

_VOID = {"meta", "img", "br", "hr", "input", "link"}
_WCAG_TEXT, _WCAG_GRAPHICS = 4.5, 3.0
_NUMBERS = {
    *("estimate", "low", "high", "p5", "median", "p95", "area", "threshold", "score", "p_value", "p_holm"),
    *(
        "response_median",
        "worst_amplification",
        "effect",
        "pixel_accuracy",
        "class_accuracy",
        "class_iou",
        "kid",
        "energy",
        "frechet",
    ),
}


class Page(HTMLParser):
    """Elements with their ancestors, headings with their text, and whether tags are closed in their order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.headings, self.text, self.wrong = [], [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in _VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
        if any(re.fullmatch("h[1-6]", tag) for tag in self.open):
            self.headings[-1][1] += data.strip()

    def all(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def page_of(make_run, monkeypatch):
    """Makes the page of results, with blank figures: they take seconds, and words are what is asked for."""
    for module in (figures, usefulness_figures, control_figures):
        monkeypatch.setattr(module, "draw", lambda name, height, painter: '<svg aria-hidden="true"></svg>')

    def make(results):
        results["worst"] = [{"id": "source-0003", "picture": "worst/worst-1.png"}]
        return Page(write_report(make_run(results)).read_text(encoding="utf-8"))

    return make


@pytest.fixture(scope="module")
def whole_pages(tmp_path_factory):
    """A page of every kind, drawn once, by its kind."""
    evaluation = evaluated(RESULTS)
    unlabelled = copy.deepcopy(evaluation) | {"downstream": None, "gap_closed": None}
    unlabelled["preservation"]["steganography"] = None
    folder, found = tmp_path_factory.mktemp("pages"), {}
    kinds = {"only adapted": RESULTS, "evaluated": evaluation, "without labels": unlabelled}
    for kind, results in kinds.items():
        found[kind] = write_report(write_run(folder / kind, results))
    found["several"] = write_comparison([folder / kind for kind in kinds], folder / "comparison.html")
    return {kind: path.read_text(encoding="utf-8") for kind, path in found.items()}


@pytest.fixture(params=["only adapted", "evaluated", "without labels", "several"])
def any_page(request, whole_pages):
    return Page(whole_pages[request.param])


def test_tags_are_closed_in_their_order_and_ids_are_unique(any_page):
    assert any_page.wrong == [] and any_page.open == []
    identifiers = [attributes["id"] for _, attributes, _ in any_page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    pointed = [attributes["href"] for attributes in any_page.all("a")]
    pointed += [f"#{attributes['aria-labelledby']}" for attributes in any_page.all("section")]
    assert {address.removeprefix("#") for address in pointed} <= set(identifiers)


def test_there_is_one_main_one_first_heading_a_language_and_no_level_is_skipped(any_page):
    assert any_page.all("html") == [{"lang": "en"}]
    assert len(any_page.all("main")) == len(any_page.all("header")) == 1
    levels = [level for level, _ in any_page.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(text.strip() for _, text in any_page.headings)


def test_the_first_thing_that_takes_the_focus_leads_past_the_header(any_page):
    body = [(tag, attributes) for tag, attributes, above in any_page.elements if "body" in above]
    assert body[0] == ("a", {"class": "skip", "href": "#main"})
    assert any_page.all("main") == [{"id": "main", "tabindex": "-1"}]


def test_every_table_has_a_caption_and_every_header_its_scope(any_page):
    assert len(any_page.all("caption")) == len(any_page.all("table")) > 0
    assert all(attributes.get("scope") in {"col", "row", "rowgroup"} for attributes in any_page.all("th"))


def test_what_scrolls_takes_the_focus_and_has_a_name(any_page):
    scrolled = [a for a in any_page.all("div") if "scroll" in a.get("class", "").split()]
    assert scrolled
    for attributes in scrolled:
        assert (attributes["tabindex"], attributes["role"]) == ("0", "region") and attributes["aria-label"]


def test_every_picture_and_figure_is_said_in_words(any_page):
    assert all(attributes["alt"] for attributes in any_page.all("img"))
    assert all(attributes["aria-hidden"] == "true" for attributes in any_page.all("svg"))
    said = [attributes["aria-label"] for attributes in any_page.all("div") if attributes.get("role") == "img"]
    # a figure says numbers and not just what kind of figure it is
    assert said and all(len(re.findall(r"\d", words)) > 3 for words in said)
    captions = len(any_page.all("figcaption"))
    assert captions == len(any_page.all("figure"))


def test_figures_are_well_formed_and_take_the_pages_colours(whole_pages):
    drawn = re.findall(
        r'<svg aria-hidden="true"[^>]*xmlns.*?</svg>', whole_pages["evaluated"], flags=re.DOTALL
    )
    # gap, budget, trade-off, dose, distance, structure
    assert len(drawn) == 6
    for figure in drawn:
        assert ElementTree.fromstring(figure).get("viewBox")  # noqa: S314 (made two lines above)
        assert set(re.findall(r"#[0-9a-f]{6}\b", figure)) <= {"#ffffff", "#000000"}


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("use", "Verdict: use"),
        ("use with care", "Verdict: use with care"),
        ("do not translate", "Verdict: do not translate"),
        ("cannot tell", "Verdict: cannot tell"),
        ("INVALID", "INVALID: no verdict"),
    ],
)
def test_the_verdict_is_the_first_heading_below_the_title(evaluation, page_of, name, heading):
    evaluation["verdict"]["name"], evaluation["valid"] = name, name != "INVALID"
    page = page_of(evaluation)
    assert page.headings[1] == [2, heading]
    # said by an icon, too, whose shape differs
    assert page.all("svg")[0]["viewbox"] == "0 0 48 48"
    assert ("Rely on no number of it." in page.words) is (name == "INVALID")


def test_an_invalid_page_states_no_share_of_the_gap_in_words(evaluation, page_of):
    assert "closed 80 % (95 % interval 70 % to 90 %) of the gap" in page_of(evaluation).words
    evaluation["verdict"]["name"], evaluation["valid"] = "INVALID", False
    assert "closed 80 %" not in page_of(evaluation).words


def test_a_page_without_labels_says_what_cannot_be_known(evaluation, page_of):
    evaluation["downstream"] = evaluation["gap_closed"] = None
    words = page_of(evaluation).words
    assert "Without labelled real films nobody can know whether a network trained on the translated" in words
    assert "medi2i evaluate RUN --target-labels DIR measures it." in words
    assert "On labelled films, row by row" not in words


def test_parts_that_were_not_measured_name_the_command_that_adds_them(evaluation, page_of):
    for section in ("preservation", "controls", "realism"):
        evaluation[section] = None
    words = page_of(evaluation).words
    assert "Not measured. medi2i evaluate RUN adds it; no labels are needed." in words
    assert "No controls were run. medi2i evaluate RUN runs them." in words


def test_a_run_that_was_only_adapted_says_in_one_sentence_what_is_missing(results, page_of):
    page = page_of(results)
    assert page.words.count("medi2i evaluate RUN --target-labels DIR adds both.") == 1
    assert page.headings[1] == [2, "Before you rely on it"]
    assert "Methods, ready for a paper" not in page.words


def test_the_worst_images_come_with_their_maps(evaluation, page_of):
    texts = [attributes["alt"] for attributes in page_of(evaluation).all("img")]
    assert texts[0] == "source-0000: left the source, right its translation (geometry 2.40, threshold 1.10)"
    assert texts[1] == "source-0000: heat map of deformation"
    # the first of three has no map of content; one picture more is the worst by gradient correlation
    assert len(texts) == 3 * 3 - 1 + 1


def test_everything_undefined_still_makes_a_page(evaluation, page_of):
    def undefine(value):
        if isinstance(value, dict):
            return {key: None if key in _NUMBERS else undefine(inner) for key, inner in value.items()}
        return [undefine(inner) for inner in value] if isinstance(value, list) else value

    for section in ("controls", "preservation", "realism", "downstream"):
        evaluation[section] = undefine(evaluation[section])
    evaluation["gap_closed"] |= {"estimate": None, "low": None, "high": None}
    words = page_of(evaluation).words
    assert "No row has a share of the gap" in words and "No structure could be judged" in words
    assert not re.search(r"\b(None|nan|null)\b", words)


def test_names_from_the_file_can_not_become_markup(evaluation, page_of):
    evil = "<script>alert(1)</script>"
    evaluation["verdict"]["reason"] = evaluation["downstream"]["rows"][3]["name"] = evil
    evaluation["downstream"]["labels"]["dont_care"] = evaluation["controls"]["source"] = evil
    evaluation["preservation"]["structures"][0]["name"] = '"><b>'
    page = page_of(evaluation)
    assert not page.all("script") and not page.all("b")
    assert evil in page.words


def test_the_methods_paragraph_holds_data_split_seeds_statistics_and_controls(evaluation, page_of):
    words = page_of(evaluation).words
    for part in (
        "split by patient into training, validation and test sets (170/10/60 source and 290/10/100 target",
        "with 3 seeds on 30 labelled target films (30 patients), which took no part in any training",
        "the other folds of 3 outer folds by patient",
        "normalised surface Dice at 2.5 mm",
        "Wilcoxon's signed-rank test on means of patients with Holm's correction",
        "With fewer than 50 known patients the results are exploratory.",
        "Thresholds were set on 20 patients and tested on 20 others",
        "were not used to rank methods",
    ):
        assert part in words, part


def luminance(color):
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_a_known_pair():
    # black on white is 21 by the definition of WCAG 2
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


def test_text_and_marks_stand_out_from_their_ground_by_day_and_by_night():
    themes = re.findall(r":root \{([^}]*)\}", read_part("page.css"))
    colors = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", theme)) for theme in themes]
    assert len(colors) == 2 and colors[0].keys() == colors[1].keys()
    for theme in colors:
        for text in ("text", "muted", "translated"):
            for ground in ("paper", "own"):
                assert contrast(theme[text], theme[ground]) >= _WCAG_TEXT, (text, ground)
        for mark in ("identity", "histogram", "focus", "use", "care", "stop", "unknown", "invalid"):
            assert contrast(theme[mark], theme["paper"]) >= _WCAG_GRAPHICS, mark
