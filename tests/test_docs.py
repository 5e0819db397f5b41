"""What the documents say exists: commands, options, presets, keys, scripts, links."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

from medi2i.adaptation import AdaptConfig, choose_config
from medi2i.benchmarks import SuiteConfig
from medi2i.cli import app
from medi2i.config import find_preset, load_config, validate_config
from medi2i.drr.film import FilmConfig, FilmDistribution
from medi2i.drr.phantom import PhantomConfig
from medi2i.drr.structures import StructuresConfig
from medi2i.framing.distribution import FramingDistribution
from medi2i.rendering import DRRConfig, read_structures
from medi2i.report.results import Results

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").rglob("*.md"),
]
COMMAND: Any = typer.main.get_command(app)
# configuration of a YAML block, by the folder that its first line names
KINDS: dict[str, Any] = {
    "adapt": AdaptConfig,
    "benchmark": SuiteConfig,
    "drr": DRRConfig,
    "film": FilmDistribution,
    "framing": FramingDistribution,
    "phantom": PhantomConfig,
    "structures": StructuresConfig,
}
# keys of other configurations than the main job's, by their section
SECTIONS: dict[str, Any] = {
    **dict.fromkeys(("geometry", "pose", "attenuation", "structures", "convention"), DRRConfig),
    **dict.fromkeys(("spectrum", "heel", "scatter", "grid", "exposure", "sharpness"), FilmConfig),
    **dict.fromkeys(("collimation", "display", "tone", "marker", "storage"), FilmConfig),
    "patient": PhantomConfig,
}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHELLS = {"sh", "bash", "shell", "console"}

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def fenced(document: Path, *languages: str) -> list[str]:
    return [body for language, body in _FENCE.findall(document.read_text("utf-8")) if language in languages]


def prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text("utf-8"))


def inline_code(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(document))


def command_lines(document: Path) -> list[list[str]]:
    """Arguments of each `medi2i` call in the shell blocks."""
    found = []
    for block in fenced(document, *_SHELLS):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words[1:3] == ["-m", "medi2i"]:
                words = words[2:]
            if words and Path(words[0]).name == "medi2i":
                found.append(words[1:])
    return found


def options_of(command: Any) -> set[str]:
    """Of a command, and of those below it."""
    below = getattr(command, "commands", {}) if command is not COMMAND else {}
    own = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return own.union(*(options_of(other) for other in below.values()))


def called(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words call, `segment train` and its like included, and what is left for it."""
    command, left = COMMAND.commands[words[0]], words[1:]
    while left and left[0] in getattr(command, "commands", {}):
        command, left = command.commands[left[0]], left[1:]
    return command, left


@each_document
def test_every_command_line_parses(document: Path) -> None:
    for words in command_lines(document):
        if words[0].startswith("-"):
            assert set(words) <= options_of(COMMAND), words
            continue
        # builds every parameter, and so refuses unknown options and choices, without running the command
        command, left = called(words)
        context = command.make_context(command.name, left)
        assert not context.args, f"{document.name}: left over in {words}"


def test_command_lines_are_found_and_wrong_ones_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nMODE=1 .venv/bin/medi2i adapt \\\n  --sorce a  # typo\n```\n`medi2i adapt`\n")
    assert command_lines(page) == [["adapt", "--sorce", "a"]]
    with pytest.raises(Exception, match="No such option"):
        test_every_command_line_parses(page)
    assert len(command_lines(ROOT / "docs" / "own-data.md")) > 8


@each_document
def test_every_preset_and_override_of_a_command_line_loads(document: Path) -> None:
    for words in command_lines(document):
        if words[0] not in {"adapt", "drr", "phantom"}:
            continue
        given = COMMAND.commands[words[0]].make_context(words[0], words[1:]).params
        preset, changes = given["config"], given["set_"] or ()
        if preset is not None and "/" in preset:  # a file of the reader's own
            continue
        if words[0] == "adapt":
            loaded = choose_config(given["method"], preset, changes, "cpu")
            assert given["method"] in {None, loaded.adapter.name}
        elif words[0] == "drr":
            assert load_config(find_preset(preset, "drr"), DRRConfig, changes).views
            if given["structures"] is not None:
                assert read_structures(given["structures"]).groups
        else:
            phantom = load_config(find_preset(preset, "phantom"), PhantomConfig, changes)
            assert phantom.source_patients > 0


@each_document
def test_every_command_and_option_named_in_prose_exists(document: Path) -> None:
    known = {name: options_of(command) for name, command in COMMAND.commands.items()}
    everything = set().union(options_of(COMMAND), *known.values())
    for code in inline_code(document):
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code))
        call = re.fullmatch(r"(?:\.venv/bin/)?medi2i ([a-z]\S*)(.*)", code)
        if call:
            assert call[1] in known, f"{document.name}: {code}"
            assert options <= known[call[1]], f"{document.name}: {code}"
        assert options <= everything, f"{document.name}: {code}"


@each_document
def test_every_preset_named_in_prose_exists(document: Path) -> None:
    presets = {path.stem for path in (ROOT / "configs" / "adapt").glob("*.yaml")}
    named = {code for code in inline_code(document) if re.fullmatch(r"cyclegan_\w+", code)}
    assert named <= presets


@each_document
def test_every_script_named_exists(document: Path) -> None:
    for name in re.findall(r"(?<![\w/])scripts/([a-z_]+(?:/[a-z_]+)?)", document.read_text("utf-8")):
        assert (ROOT / "scripts" / name).is_file(), name


def models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def has_key(model: Any, parts: list[str]) -> bool:
    if not parts:
        return True
    field = model.model_fields.get(parts[0])
    if field is None:
        return False
    return len(parts) == 1 or any(has_key(inner, parts[1:]) for inner in models_in(field.annotation))


def test_the_search_for_keys_finds_what_is_there_and_nothing_else() -> None:
    assert has_key(AdaptConfig, ["adapter", "structure_losses", "mask_weight"])
    assert not has_key(AdaptConfig, ["training", "step"])


@each_document
def test_every_key_named_in_prose_is_a_setting_or_a_result(document: Path) -> None:
    for code in inline_code(document):
        key = code.partition("=")[0]
        if re.fullmatch(r"(adapter|data|training|evaluation|run|floors)(\.[a-z_0-9]+)+", key):
            parts = key.split(".")
            assert has_key(AdaptConfig, parts) or has_key(Results, parts), f"{document.name}: {code}"


@each_document
def test_every_yaml_block_loads_as_its_configuration(document: Path) -> None:
    for block in fenced(document, "yaml"):
        values = yaml.safe_load(block)
        folder = re.match(r"# configs/(\w+)/", block)
        kind = KINDS[folder[1]] if folder else AdaptConfig
        if values.get("adapter", {}).get("name") == "linear":  # the method that house.md teaches to add
            assert values.pop("adapter") == {"name": "linear"}
        validate_config(values, kind, document.name)


@each_document
def test_every_key_of_rendering_and_film_named_in_prose_is_a_setting(document: Path) -> None:
    for code in inline_code(document):
        section, *parts = code.partition("=")[0].split(".")
        if section in SECTIONS and parts and all(re.fullmatch("[a-z_0-9]+", part) for part in parts):
            assert has_key(SECTIONS[section], [section, *parts]), f"{document.name}: {code}"


def test_wrong_keys_of_rendering_and_film_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for key in ("pose.jaw_deg", "spectrum.kv", "patient.voxels"):
        page.write_text(f"Set `{key}`.\n")
        with pytest.raises(AssertionError, match=key):
            test_every_key_of_rendering_and_film_named_in_prose_is_a_setting(page)


def test_the_page_on_drrs_names_every_option_and_every_setting() -> None:
    page = ROOT / "docs" / "drr.md"
    text = " ".join([*inline_code(page), *fenced(page, "yaml")])
    options = options_of(COMMAND.commands["drr"]) - {"--help", "ct"}
    assert [option for option in sorted(options) if option not in text] == []
    assert [key for key in DRRConfig.model_fields if not re.search(rf"\b{key}\b", text)] == []


def slug(heading: str) -> str:
    """The anchor that repository hosts make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@each_document
def test_every_relative_link_resolves(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), f"{document.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose(target), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{document.name}: {link}"


@each_document
def test_no_document_names_a_path_of_one_machine(document: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|home|root|tmp|Users)/", document.read_text("utf-8"))


def test_the_citation_is_complete_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["authors"] == project["authors"] == [{"name": "medi2i contributors"}]
