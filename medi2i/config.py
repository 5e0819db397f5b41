"""Typed configuration: a frozen pydantic base, YAML presets, and `section.key=value` overrides."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from medi2i.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration class: immutable, and an unknown key is an error.

    Attributes:
        alternatives: keys of which one is given; a `--set` of one takes the others out.
    """

    alternatives: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)
_MOST_BYTES = 1 << 20
_LONGEST_NAME = 80  # characters of an override in a message


def preset_folder(command: str) -> Path:
    """Folder of a command's presets: `configs/<command>` of the wheel, or of the checkout."""
    packaged = Path(str(resources.files("medi2i"))) / "configs" / command
    checkout = Path(__file__).resolve().parent.parent / "configs" / command
    return packaged if packaged.is_dir() else checkout


def find_preset(name_or_path: str, command: str) -> Path:
    """Path of a preset, given its name (`cyclegan_laptop`) or a YAML file.

    Raises:
        ConfigError: neither a file nor a preset has that name.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    preset = preset_folder(command) / f"{name_or_path}.yaml"
    if preset.is_file() and not any(part in name_or_path for part in ("/", "\\")):
        return preset
    names = sorted(p.stem for p in preset_folder(command).glob("*.yaml"))
    near = difflib.get_close_matches(name_or_path, names, n=1)
    raise ConfigError(
        name_or_path,
        found="no such preset or YAML file",
        expected=f"a path ending in .yaml, or one of {', '.join(names)}",
        remedy=f"did you mean '{near[0]}'?" if near else "give one of these names or a path",
    )


def load_config(path: Path, kind: type[ConfigT], overrides: Iterable[str] = ()) -> ConfigT:
    """Read one YAML file, apply `section.key=value` overrides, and validate.

    Raises:
        ConfigError: the file can't be parsed, an override is malformed, or a key or value is wrong;
            the message names the key's path and the nearest valid key.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(
                path,
                found=f"{path.stat().st_size:,} bytes",
                expected=f"a configuration of at most {_MOST_BYTES:,}",
                remedy="give a configuration file",
            )
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            path, found=reason, expected="a readable YAML file", remedy="mend the file"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(
            path,
            found=type(values).__name__,
            expected="a mapping of keys",
            remedy="see configs/ for examples",
        )
    overrides = list(overrides)
    for override in overrides:
        _apply_override(values, override, kind)
    return validate_config(values, kind, str(path), overrides)


def validate_config(
    values: Mapping[str, Any], kind: type[ConfigT], origin: str, overrides: Iterable[str] = ()
) -> ConfigT:
    """Build `kind` from plain values, turning pydantic's report into one clear line.

    Args:
        values: keys and values.
        kind: what they are to make.
        origin: where they are from, for the message.
        overrides: those among them that are from elsewhere; one that is wrong is named instead of `origin`.

    Raises:
        ConfigError: with every offending key, its path and the nearest valid key.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        raise ConfigError(
            _find_culprit(problems[0]["loc"], overrides) or origin,
            found="; ".join(_describe(problem, kind) for problem in problems),
            expected="the keys and values that the documentation lists",
            remedy="mend the key named first",
        ) from None


def _find_culprit(location: tuple[Any, ...], overrides: Iterable[str]) -> str | None:
    """The last override that set the value at a location, or what it is part of."""
    found = None
    for override in overrides:
        key = override.partition("=")[0].strip().split(".")
        # pydantic puts a union's tag between the keys, so order and not neighbourhood counts
        place = iter(str(part) for part in location)
        if location and all(part in place for part in key):
            found = override if len(override) <= _LONGEST_NAME else f"{override[:_LONGEST_NAME]}..."
    return found


def dump_config(config: Config) -> str:
    """The complete, resolved configuration as YAML; loading it again gives an equal object."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return text


def _apply_override(values: dict[str, Any], override: str, kind: type[Config]) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(
            f"--set {override}",
            found="no 'key=value'",
            expected="section.key=value",
            remedy="e.g. training.steps=500",
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {override}",
            found="a value that is no YAML",
            expected="section.key=value",
            remedy="quote the value",
        ) from error
    node: Any = values
    for part in parts[:-1]:
        node = _child(node, part, override)
    if isinstance(node, list):
        node[_list_index(node, parts[-1], override)] = value
    else:
        node[parts[-1]] = value
        alternatives = _alternatives(kind, parts[:-1])
        if value is not None and parts[-1] in alternatives:
            for other in alternatives:
                if other != parts[-1]:
                    node.pop(other, None)


def _alternatives(kind: type[Config], path: Iterable[str]) -> tuple[str, ...]:
    """Alternative keys of the section at a path; none where the path leaves plain sections."""
    for part in path:
        field = kind.model_fields.get(part)
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        sections = [k for k in kinds if isinstance(k, type) and issubclass(k, Config)]
        if len(sections) != 1:
            return ()
        kind = sections[0]
    return kind.alternatives


def _child(node: Any, part: str, override: str) -> Any:
    child = node[_list_index(node, part, override)] if isinstance(node, list) else node.setdefault(part, {})
    if child is None and isinstance(node, dict):
        child = node[part] = {}
    if not isinstance(child, dict | list):
        raise ConfigError(
            f"--set {override}",
            found=f"'{part}' holds a value",
            expected="a section",
            remedy="drop what follows it",
        )
    return child


def _list_index(node: list[Any], part: str, override: str) -> int:
    if part.isdigit() and int(part) < len(node):
        return int(part)
    raise ConfigError(
        f"--set {override}",
        found=f"'{part}' in a list of {len(node)}",
        expected=f"an index below {len(node)}",
        remedy="give the whole list, e.g. adapter.structure_losses='[{name: mind, weight: 1}]'",
    )


def _describe(problem: Any, kind: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"]]
    text = ": ".join(
        part for part in (".".join(location), problem["msg"].removeprefix("Value error, ")) if part
    )
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _sibling_keys(kind, problem["loc"]), n=1, cutoff=0.5)
        text = f"{'.'.join(location)}: unknown key" + (f", did you mean '{near[0]}'?" if near else "")
    return text


def _sibling_keys(kind: Any, location: tuple[Any, ...]) -> list[str]:
    """Valid keys beside the last part of an error location, walking models, unions, and lists."""
    models = [kind]
    for part in location[:-1]:
        following: list[Any] = []
        for model in models:
            fields = getattr(model, "model_fields", {})
            if part in fields:
                following.extend(_models_in(fields[part].annotation))
            elif isinstance(part, int) or _has_tag(model, part):
                following.append(model)  # list index, or the tag of a discriminated union
        models = following or models
    return sorted({key for model in models for key in getattr(model, "model_fields", {})})


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _has_tag(model: Any, tag: Any) -> bool:
    name = getattr(model, "model_fields", {}).get("name")
    return name is not None and tag in get_args(name.annotation)
