import pytest

from medi2i.report import write_report
from medi2i.report.readers import describe_readers, reader_table
from medi2i.report.schema.reader_study import ReaderStudy


def study(low=0.2, high=0.4, estimate=0.3, readers=2, **changes):
    row = {"reader": "R-1", "experience": "daily", "fooled": 12, "trials": 40, "share": 0.3}
    row |= {"low": 0.181, "high": 0.454, "chose_first": 0.55}
    return {
        "seconds": 1.0,
        "trials": 40,
        "checks": 6,
        "patients": {"source": 1, "target": None},
        "share": {"estimate": estimate, "low": low, "high": high},
        "readers": [row, row | {"reader": "R-2", "experience": "not said"}][:readers],
        "excluded": [{"reader": "R-9", "reason": "1 of 6 attention checks wrong"}],
    } | changes


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.2, 0.4, "(95 % interval over readers 20 % to 40 %). Guessing is 50 %: readers tell them apart."),
        (0.4, 0.6, "the interval holds it: no difference was shown, which proves none."),
        (0.6, 0.8, "look more like films than films do."),
        (None, None, "One reader gives no interval over readers."),
    ],
)
def test_the_sentence_follows_the_interval(low, high, words):
    told = describe_readers(ReaderStudy.model_validate(study(low, high)))
    assert told.startswith(
        "Shown a translated image beside a real film, 2 readers took it for the film in 30 %"
    )
    assert told.endswith(words)


def test_without_readers_there_is_no_share():
    nobody = ReaderStudy.model_validate(study(None, None, None, readers=0))
    assert describe_readers(nobody).startswith("No reader's answers count")
    assert reader_table(nobody).sections[0].rows[-1].cells == ("–",) * 5


def test_the_table_has_a_row_a_reader_and_names_the_excluded():
    table = reader_table(ReaderStudy.model_validate(study(seconds=None)))
    first, second, mean = table.sections[0].rows
    assert first.cells == ("daily", "12 of 40", "30 %", "18 % to 45 %", "55 %")
    assert second.cells[0] == "–"
    assert mean.cells == ("–", "–", "30 %", "20 % to 40 %", "–")
    assert (
        "as long as the reader liked; translated images of 1 patient, films of patients unknown"
        in table.notes[0]
    )
    assert table.notes[-1] == "Excluded: R-9, 1 of 6 attention checks wrong."


def test_the_page_has_the_section_only_after_a_study(results, make_run):
    assert "film or translated?" not in write_report(make_run(results)).read_text("utf-8")
    results["reader_study"] = study(excluded=[{"reader": "<b>", "reason": "late"}])
    html = write_report(make_run(results)).read_text("utf-8")
    assert "Readers: film or translated?" in html and "<td>12 of 40</td>" in html
    assert "Excluded: &lt;b&gt;, late." in html
