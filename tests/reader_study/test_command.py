import json
import shutil

from flat_run import sheet

from medi2i.reader_study.key import read_keys


def test_a_page_is_made_of_a_run_scored_and_reported(identity_run, run_cli, tmp_path):
    run = shutil.copytree(identity_run, tmp_path / "run")
    page, folder = tmp_path / "page.html", tmp_path / "answers"
    folder.mkdir()
    ended = run_cli("reader-study", run, "--out", page, "--free-time")
    assert ended.code == 0, ended.err
    # 12 images and 12 films: 1 check, 11 pairs left, 2 of them practice, 9 made even
    assert "pairs: 8 that count, 2 for practice, 1 attention checks; pictures of 32 x 32" in ended.out
    assert "not enough for 40 pairs" in ended.out
    text = page.read_text("utf-8")
    assert "drr_" not in text and "film_" not in text and "source-" not in text

    (key,) = read_keys(run).values()
    (folder / "a.json").write_text(json.dumps(sheet(key, "A", fooled=2)))
    ended = run_cli("reader-study", run, "--score", folder)
    assert ended.code == 0, ended.err
    assert "A: fooled 2 of 8, 25% (7% to 59%)" in ended.out  # Wilson of 2 in 8: .0715 to .5907
    assert "25%, one reader and so no interval" in ended.out
    assert "1 reader took it for the film in 25 %" in (run / "report.html").read_text("utf-8")

    (folder / "b.json").write_text(json.dumps(sheet(key, "B", wrong_checks=1)))
    ended = run_cli("reader-study", run, "--score", folder)
    assert ended.code == 3
    assert "excluded: B: 1 of 1 attention checks wrong" in ended.out


def test_wrong_calls_name_what_to_do(run_cli, tmp_path):
    assert "neither --out nor --score" in run_cli("reader-study", tmp_path).error
    both = run_cli("reader-study", tmp_path, "--out", "p.html", "--score", "a")
    assert both.code == 2 and "both --out and --score" in both.error
    assert run_cli("reader-study", tmp_path / "nothing", "--out", tmp_path / "p.html").code != 0
