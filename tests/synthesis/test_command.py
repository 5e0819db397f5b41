"""`medi2i synthesize` as a user calls it."""

import json
from pathlib import Path

import pytest
import yaml
from tiny_data import write_source

from medi2i.synthesis.rendering import working_folder
from tests.rendering.cts import SETTINGS, write_patients
from tests.synthesis.sets import make_set, manifest


@pytest.fixture
def source(domains_folder) -> Path:
    return domains_folder / "src"


def test_a_gated_set_in_one_command(run_cli, evaluated_run, source, tmp_path):
    out, options = tmp_path / "set", ["--count", "5", "--licence", "CC BY 4.0"]
    ended = run_cli("synthesize", evaluated_run, "--from", source, "--out", out, *options)
    assert ended.code == 0, ended.err
    assert f"images: 5 in {out} (5 drawn, 5 new)" in ended.out
    assert "DATASET_CARD.md" in ended.out
    assert "| licence | CC BY 4.0 |" in (out / "DATASET_CARD.md").read_text()
    assert {row["gate"]["passed"] for row in manifest(out)} == {True}
    ended = run_cli("synthesize", evaluated_run, "--from", source, "--out", out, *options)
    assert (ended.code, "(5 drawn, 0 new)" in ended.out) == (0, True)


def test_options_reach_the_settings(run_cli, styled_run, source, tmp_path):
    out = tmp_path / "set"
    options = ["--styles", "2", "--seed", "5", "--split", "0.5/0/0.5", "--no-gate", "--randomise"]
    options += ["--format", "nnunet", "--overlap", "priority", "--priority", "lung", "--count", "6"]
    options += ["--balance", "view", "--balance", "structure", "--set", "randomise.noise=0.01"]
    ended = run_cli("synthesize", styled_run, "--from", source, "--out", out, *options)
    assert ended.code == 0, ended.err
    settings = json.loads((out / "synthesis.json").read_text())["settings"]
    assert (settings["styles"], settings["seed"], settings["split"]) == (2, 5, [0.5, 0, 0.5])
    assert (settings["overlap"], settings["priority"], settings["count"]) == ("priority", ["lung"], 6)
    assert (settings["balance"], settings["gate"]) == (["view", "structure"], False)
    assert (settings["randomise"]["noise"], settings["randomise"]["gamma"]) == (0.01, 0.8)
    assert "note: No gate" in ended.out


def test_shares_say_what_comes_next(run_cli, styled_run, source, tmp_path):
    out = tmp_path / "set"
    command = ["synthesize", styled_run, "--from", source, "--out", out, "--no-gate"]
    ended = run_cli(*command, "--shard", "2/3")
    assert ended.code == 0
    assert "share 2/3: 4 image(s) drawn; 4 in all shares so far" in ended.out
    assert "once without --shard" in ended.out
    ended = run_cli(*command)
    assert "images: 12" in ended.out
    make_set(styled_run, source, tmp_path / "whole")
    assert manifest(out) == manifest(tmp_path / "whole")


def test_skipped_sources_end_with_their_code(run_cli, styled_run, tmp_path):
    source = write_source(tmp_path / "src")
    (source / "images" / "drr_03.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    ended = run_cli("synthesize", styled_run, "--from", source, "--out", tmp_path / "set", "--no-gate")
    assert ended.code == 3
    assert "skipped: 1 source image(s)" in ended.out
    assert "images/drr_03.png" in ended.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "ask for --no-gate"),
        (["--no-gate", "--split", "0.8/0.2"], "no three numbers"),
        (["--no-gate", "--split", "0.8/0.1/0.2"], "shares of 1"),
        (["--no-gate", "--format", "tiff"], "format"),
        (["--no-gate", "--format", "nnunet"], "--overlap binary writes"),
        (["--no-gate", "--keep-rejected"], "without a gate nothing is rejected"),
        (["--no-gate", "--attribute", "view=PA"], "knows no attributes"),
        (["--no-gate", "--labels", "ct.nii.gz"], "no --render"),
        (["--no-gate", "--render", "default", "--shard", "1/2"], "--render beside it"),
        (["--no-gate", "--shard", "3/2"], "outside the count"),
        (["--no-gate", "--config", "nothing"], "no such preset"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(options, words, run_cli, styled_run, source, tmp_path):
    ended = run_cli("synthesize", styled_run, "--from", source, "--out", tmp_path / "set", *options)
    assert ended.code == 2
    assert words in ended.error
    assert not (tmp_path / "set").exists()


def test_a_run_that_is_not_there_is_wrong_usage(run_cli, source, tmp_path):
    ended = run_cli("synthesize", tmp_path / "run", "--from", source, "--out", tmp_path / "set", "--no-gate")
    assert ended.code == 2
    assert "no such folder" in ended.error


def test_ct_with_labels_is_rendered_on_the_way(run_cli, styled_run, tmp_path):
    ct = write_patients(tmp_path / "ct")
    preset = tmp_path / "small.yaml"
    preset.write_text(yaml.safe_dump(SETTINGS))
    out = tmp_path / "set"
    command = ["synthesize", styled_run, "--from", ct, "--out", out, "--render", preset, "--no-gate"]
    ended = run_cli(*command)
    assert ended.code == 0, ended.err
    rendered = sorted(path.name for path in (working_folder(out) / "images").iterdir())
    assert len(rendered) == 9
    assert {row["source"]["file"] for row in manifest(out)} == {f"images/{name}" for name in rendered}
    assert {row["view"] for row in manifest(out)} == {"PA"}
    assert len({row["patient"] for row in manifest(out)}) == 3
