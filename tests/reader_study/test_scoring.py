import json

import numpy as np
import pytest
from flat_run import sheet

from medi2i.errors import CheckpointError, NothingUsableError, UsageError
from medi2i.metrics.statistics import wilson_interval
from medi2i.reader_study import score_study
from medi2i.reader_study.key import read_keys
from medi2i.reader_study.proportions import effective_trials


@pytest.fixture
def scored(study, tmp_path):
    """Writes sheets, and scores them."""
    folder = tmp_path / "answers"
    folder.mkdir()

    def score(*sheets):
        for number, content in enumerate(sheets):
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / f"answers-{number}.json").write_text(text)
        return score_study(tmp_path / "run", folder)

    return score


def test_readers_get_their_share_fooled_with_wilsons_interval(study, scored):
    found = scored(sheet(study.key, "A", fooled=1), sheet(study.key, "B", fooled=3))
    a, b = found.readers
    assert (a.fooled, a.trials, a.share, b.share) == (1, 4, 0.25, 0.75)
    # Wilson of 1 in 4: z² = 3.8415; centre (1/4 + z²/8) / (1 + z²/4) = 0.37249,
    # half width z / (1 + z²/4) * sqrt(3/64 + z²/64) = 0.32692
    assert a.low == pytest.approx(0.0456, abs=1e-4)
    assert a.high == pytest.approx(0.6994, abs=1e-4)
    assert a.chose_first == 0.75
    assert a.median_response_s == pytest.approx(0.65)  # 500, 600, 700, 800 ms
    assert found.share.estimate == 0.5


def test_over_readers_the_reader_is_the_unit(study, scored):
    found = scored(sheet(study.key, "A", fooled=1), sheet(study.key, "B", fooled=3))
    # shares .25 and .75: variance of their mean .125 / 2; .25 / .0625 = 4 trials; t(.975, 1) = 12.7062
    assert found.share.effective_trials == pytest.approx(4 * (1.959964 / 12.7062) ** 2, rel=1e-4)
    assert (found.share.low, found.share.high) == pytest.approx(
        wilson_interval(0.5 * found.share.effective_trials, found.share.effective_trials)
    )
    assert found.share.high - found.share.low > 0.9  # two readers who disagree say next to nothing


def test_readers_who_agree_are_worth_all_their_trials_and_no_more():
    # t(.975, 3) = 3.18245; equal shares have no variance, and those of four readers here less than by chance
    shrink = (1.959964 / 3.18245) ** 2
    assert effective_trials([0.5] * 4, 160) == pytest.approx(160 * shrink, rel=1e-4)
    assert effective_trials([0.0] * 4, 160) == pytest.approx(160 * shrink, rel=1e-4)
    assert effective_trials([0.5, 0.5, 0.5, 0.51], 160) == pytest.approx(160 * shrink, rel=1e-4)
    assert effective_trials([0.4], 40) is None


@pytest.mark.parametrize(("mean", "readers"), [(0.3, 5), (0.5, 12)])
def test_the_interval_over_readers_covers_what_it_says(mean, readers):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(250):
        # readers differ by a standard deviation of about .1
        skill = rng.beta(20 * mean, 20 * (1 - mean), size=readers)
        shares = rng.binomial(40, skill) / 40
        worth = effective_trials(list(shares), 40 * readers)
        low, high = wilson_interval(shares.mean() * worth, worth)
        covered.append(low <= mean <= high)
    # 4,000 of them: .970 and .949
    assert 0.91 <= np.mean(covered) <= 0.985


def test_one_reader_has_no_interval_over_readers(study, scored):
    found = scored(sheet(study.key, "A", fooled=2))
    assert found.share.estimate == 0.5
    assert found.share.low is found.share.high is found.share.effective_trials is None


def test_readers_who_fail_a_check_stop_early_or_come_twice_are_excluded_and_listed(study, scored):
    stopped = sheet(study.key, "stopped")
    stopped["answers"] = stopped["answers"][:-4]  # 2 checks, and practice, which nobody misses
    found = scored(
        sheet(study.key, "good", fooled=1),
        sheet(study.key, "asleep", fooled=4, wrong_checks=1),
        stopped,
        sheet(study.key, "good", fooled=4, finished="2026-01-02T10:00:00Z"),
        sheet(study.key, "asleep", finished="2026-01-02T10:00:00Z"),
    )
    assert [(reader.reader, reader.fooled) for reader in found.readers] == [("good", 1)]
    assert {excluded.reason for excluded in found.excluded if excluded.reader == "asleep"} == {
        "1 of 2 attention checks wrong",
        "a second time by this reader: only the first can count",
    }
    reasons = {excluded.reader: excluded.reason for excluded in found.excluded}
    assert reasons["good"].startswith("a second time")
    assert reasons["stopped"] == "2 of 6 pairs not answered"


def test_files_that_are_no_answers_are_listed_with_the_reason(study, scored):
    key = study.key
    swapped = sheet(key, "S")
    swapped["answers"][0]["chosen"] = swapped["answers"][1]["chosen"]
    twice = sheet(key, "T")
    twice["answers"].append(twice["answers"][0])
    found = scored(
        sheet(key, "A"),
        "{",
        json.dumps([1]),
        sheet(key, "B", study="abc"),
        sheet(key, "no <name>"),
        swapped,
        twice,
        sheet(key, "C", seconds=None),
        sheet(key, "D", extra=1),
        " " * 2_000_001,
    )
    reasons = [reason for _, reason in found.unusable]
    assert len(found.readers) == 1 and len(reasons) == 9
    for reason, words in zip(
        reasons,
        [
            "no answer file",
            "no answer file",
            "not made of this run",
            "reader",
            "not as the page has it",
            "answered twice",
            "other times",
            "extra",
            "too large",
        ],
        strict=True,
    ):
        assert words in reason


def test_images_are_ranked_by_how_few_readers_they_fooled(study, scored):
    found = scored(sheet(study.key, "A", fooled=1), sheet(study.key, "B", fooled=2))
    ids = [pair.other_id for pair in study.key.of_kind("trial").values()]
    assert [(image.fooled, image.readers) for image in found.images] == [(0, 2), (0, 2), (1, 2), (2, 2)]
    assert [image.id for image in found.images[2:]] == [ids[1], ids[0]]


def test_the_score_goes_into_the_run_beside_what_is_there(study, scored, tmp_path):
    scored(sheet(study.key, "A", fooled=1))
    run = tmp_path / "run"
    results = json.loads((run / "results.json").read_text())
    assert results["format"] == 1
    assert results["reader_study"] == json.loads((run / "reader_study.json").read_text())
    assert results["reader_study"]["readers"][0]["fooled"] == 1


def test_a_folder_without_answers_is_refused(study, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UsageError, match="no folder"):
        score_study(run, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingUsableError, match=r"no \.json file"):
        score_study(run, tmp_path / "empty")
    (tmp_path / "other").mkdir()
    with pytest.raises(CheckpointError, match="no key"):
        score_study(tmp_path / "other", tmp_path / "empty")


def test_answers_to_two_pages_are_not_mixed(study, scored, tmp_path):
    other = study.key.model_copy(update={"study": "f" * 12})
    (study.key_path.parent / "other.json").write_text(other.model_dump_json())
    assert len(read_keys(tmp_path / "run")) == 2
    with pytest.raises(UsageError, match="answers to 2 pages"):
        scored(sheet(study.key, "A"), sheet(other, "B"))


def test_a_damaged_key_or_result_is_named(study, scored, tmp_path):
    (tmp_path / "run" / "results.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"results\.json"):
        scored(sheet(study.key, "A"))
    study.key_path.write_text("{}")
    with pytest.raises(CheckpointError, match="no readable key"):
        scored(sheet(study.key, "A"))
