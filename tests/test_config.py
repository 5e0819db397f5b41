from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from medi2i.adaptation import AdaptConfig
from medi2i.config import Config, dump_config, find_preset, load_config, validate_config
from medi2i.errors import ConfigError


class Red(Config):
    name: Literal["red"] = "red"
    strength: float = 1.0


class Blue(Config):
    name: Literal["blue"] = "blue"
    depth: int = 2


class Inner(Config):
    steps: int = 10
    weights: tuple[float, ...] = (1.0, 2.0)


class Outer(Config):
    inner: Inner = Inner()
    colour: Annotated[Red | Blue, Field(discriminator="name")] = Red()
    colours: tuple[Annotated[Red | Blue, Field(discriminator="name")], ...] = ()
    maybe: Inner | None = None


@pytest.fixture
def load(tmp_path):
    def load(text: str, *overrides: str) -> Outer:
        path = tmp_path / "outer.yaml"
        path.write_text(text)
        return load_config(path, Outer, overrides)

    return load


@pytest.mark.parametrize(
    ("text", "path", "nearest"),
    [
        ("iner: {}", "iner", "inner"),
        ("inner: {stepps: 3}", "inner.stepps", "steps"),
        ("colour: {name: red, strenght: 3}", "colour.red.strenght", "strength"),
        ("colours: [{name: red}, {name: blue, deepth: 3}]", "colours.1.blue.deepth", "depth"),
        ("maybe: {step: 3}", "maybe.step", "steps"),
    ],
)
def test_an_unknown_key_names_its_path_and_the_nearest_valid_key(load, text, path, nearest):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert f"{path}: unknown key, did you mean '{nearest}'?" in caught.value.found


def test_an_unknown_key_of_the_real_job_names_its_path(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("adapter: {name: cyclegan, generator: {widht: 8}}")
    with pytest.raises(ConfigError, match=r"adapter\.cyclegan\.generator\.widht: unknown key.*'width'"):
        load_config(path, AdaptConfig)


def test_a_wrong_tag_names_the_tags_there_are(load):
    with pytest.raises(ConfigError, match=r"'gren'.*'red', 'blue'"):
        load("colour: {name: gren}")


def test_every_problem_is_named_at_once(load):
    with pytest.raises(ConfigError) as caught:
        load("inner: {steps: many}\nfoo: 1")
    assert "inner.steps" in caught.value.found
    assert "foo: unknown key" in caught.value.found


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["inner.steps=7"], {"inner": {"steps": 7}}),
        (["inner.steps=7", "inner.steps=8"], {"inner": {"steps": 8}}),
        (["inner.weights=[3, 4, 5]"], {"inner": {"weights": (3.0, 4.0, 5.0)}}),
        (["maybe.steps=3"], {"maybe": {"steps": 3}}),
        (["maybe=null"], {"maybe": None}),
        (["colours=[{name: blue, depth: 9}]"], {"colours": ({"name": "blue", "depth": 9},)}),
        (["colour.strength=1e-4"], {"colour": {"name": "red", "strength": 1e-4}}),
    ],
)
def test_overrides_change_what_they_name_and_nothing_else(load, overrides, expected):
    assert load("colour: {name: red}", *overrides) == Outer.model_validate(expected)


def test_an_override_reaches_into_a_list(load):
    text = "colours: [{name: red}, {name: red}]\ninner: {weights: [1, 2]}"
    config = load(text, "colours.1.strength=5", "inner.weights.0=9")
    assert [colour.strength for colour in config.colours] == [1.0, 5.0]
    assert config.inner.weights == (9.0, 2.0)


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("inner.steps", "no 'key=value'"),
        ("inner..steps=1", "no 'key=value'"),
        ("=1", "no 'key=value'"),
        ("inner.steps=[1", "no YAML"),
        ("inner.steps.more=1", "'steps' holds a value"),
        ("inner.weights.0.more=1", "'0' holds a value"),
        ("inner.weights.7=1", "'7' in a list of 2"),
        ("inner.weights.last=1", "'last' in a list of 2"),
        ("inner.stepps=1", "did you mean 'steps'"),
    ],
)
def test_an_override_that_fits_nothing_says_so(load, override, found):
    with pytest.raises(ConfigError) as caught:
        load("inner: {steps: 1, weights: [1, 2]}", override)
    assert found in str(caught.value)


def test_what_is_dumped_loads_as_an_equal_object(load):
    first = load("inner: {steps: 3}\ncolours: [{name: blue}, {name: red, strength: 1.0e-5}]")
    assert load(dump_config(first)) == first


def test_a_job_survives_dump_and_load(tmp_path, domains_folder):
    first = load_config(domains_folder / "tiny.yaml", AdaptConfig, ["seed=3", "adapter.cycle_source=1e-5"])
    path = tmp_path / "again.yaml"
    path.write_text(dump_config(first))
    assert load_config(path, AdaptConfig) == first


def test_a_config_can_not_be_changed():
    config = Outer()
    with pytest.raises(ValidationError, match="frozen"):
        config.inner = Inner(steps=3)
    with pytest.raises(ValidationError, match="frozen"):
        config.inner.steps = 3


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a: [1", "expected"),
        (b"- 1\n- 2", "list"),
        (b"\xff\xfe\x00", "decode"),
        (b"inner: 3", "inner"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, content, found):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=found) as caught:
        load_config(path, Outer)
    assert caught.value.subject == str(path)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_all_defaults(load):
    assert load("") == Outer()


def test_a_wrong_preset_name_suggests_the_nearest():
    with pytest.raises(ConfigError) as caught:
        find_preset("identiti", "adapt")
    assert caught.value.remedy == "did you mean 'identity'?"
    assert "histogram" in caught.value.expected


@pytest.mark.parametrize("name", ["../adapt/identity", "missing.yaml", "adapt", ""])
def test_what_is_neither_preset_nor_file_is_an_error(name):
    with pytest.raises(ConfigError, match="no such preset or YAML file"):
        find_preset(name, "adapt")


def test_a_preset_is_found_by_name_and_a_file_by_path(tmp_path):
    assert find_preset("identity", "adapt").name == "identity.yaml"
    own = tmp_path / "own.yml"
    own.touch()
    assert find_preset(str(own), "adapt") == own


def test_plain_values_become_a_config_or_one_clear_line():
    assert validate_config({"inner": {"steps": 2}}, Outer, "here").inner.steps == 2
    with pytest.raises(ConfigError, match=r"^here: inner\.steps: "):
        validate_config({"inner": {"steps": "two"}}, Outer, "here")


def test_preset_folders_hold_only_yaml():
    folder = Path(__file__).resolve().parent.parent / "configs"
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".yaml"}


def test_a_file_that_is_no_configuration_by_its_size_is_not_parsed(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text("inner: {steps: 3}\n" + "#" * (1 << 20))
    with pytest.raises(ConfigError, match=r"1,048,\d+ bytes; expected a configuration of at most 1,048,576"):
        load_config(path, Outer)
