"""The pages on synthesis: their commands and their Python run, and they leave nothing out."""

import json
import re
from pathlib import Path

import pytest

from medi2i.synthesis import SynthesizeConfig
from tests.test_docs import COMMAND, command_lines, fenced, inline_code, options_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [DOCS / "synthesize.md", DOCS / "to-nnunet.md"]


@pytest.fixture
def reader(evaluated_run, styled_run, domains_folder, tmp_path, monkeypatch) -> Path:
    """A folder with what the pages start from: runs, and labelled DRRs."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first").symlink_to(evaluated_run)
    (tmp_path / "runs" / "films").symlink_to(styled_run)
    (tmp_path / "drr").symlink_to(domains_folder / "src")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_and_the_python_of_a_page_run_in_their_order(page, reader, run_cli, monkeypatch):
    from medi2i.synthesis.gate import Gate, GateResult

    # what the gate says is tested elsewhere, and takes its time
    monkeypatch.setattr(Gate, "judge", lambda *_, **__: GateResult(True, None, {"not_known": 0}))
    commands = command_lines(page)
    assert len(commands) >= 2
    for words in commands:
        ended = run_cli(*words)
        assert ended.code == 0, (words, ended.err)
    for number, block in enumerate(fenced(page, "python")):
        exec(compile(block, f"{page.name} block {number}", "exec"), {})  # noqa: S102 (our own page)
    for words in commands:
        if words[0] == "synthesize":
            out = reader / words[words.index("--out") + 1]
            assert (out / "DATASET_CARD.md").is_file()
            assert not (out / "UNFINISHED").exists()


def test_the_folders_that_the_page_on_nnunet_draws_are_there(reader, run_cli):
    words = command_lines(DOCS / "to-nnunet.md")[0]
    assert run_cli(*words, "--no-gate").code == 0
    drawn = re.findall(r"[\w./-]+", fenced(DOCS / "to-nnunet.md", "text")[0])
    folder = reader / "nnunet"
    for name in drawn[1:]:
        pattern = re.sub(r"\d{7}", "*", name)  # which patient is on which side is drawn
        assert (folder / name).exists() or any(folder.glob(f"*/{pattern}")), name
    described = json.loads((folder / "Dataset502_medi2i_lung" / "dataset.json").read_text())
    assert described["overwrite_image_reader_writer"] == "SimpleITKIO"


def test_the_page_names_every_option_and_every_setting():
    text = " ".join([*inline_code(PAGES[0]), *inline_code(PAGES[1])])
    options = options_of(COMMAND.commands["synthesize"]) - {"--help", "runs"}
    assert [option for option in sorted(options) if option not in text] == []
    written = "".join(page.read_text("utf-8") for page in PAGES)
    words = {key: key.removesuffix("s").replace("_", "[-_]") for key in SynthesizeConfig.model_fields}
    assert [key for key, word in words.items() if not re.search(rf"\b{word}s?\b", written)] == []
