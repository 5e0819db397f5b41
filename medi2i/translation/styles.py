"""What a user may ask of one image's looks, and what the adapter is told for each of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from medi2i.adapters import AdapterConfig, Direction, DomainAdapter
from medi2i.adapters.base import StyleKind
from medi2i.data.dataset_folder import discover
from medi2i.data.decoding import input_intensity, item_of
from medi2i.data.manifest import ManifestRow, inspect_folder, load_radiograph
from medi2i.errors import InputError, UsageError
from medi2i.image import Domain
from medi2i.io.field import fill_outside
from medi2i.networks.munit_styles import interpolate_styles
from medi2i.translation.translator import Translator, domains

_DECIMALS = 6  # of codes in provenance


@dataclass(frozen=True)
class StyleRequest:
    """Which looks are wanted.

    Attributes:
        style: None takes the method's first.
        references: images or folders of the output's domain: each gives the mean of its images' codes.
        draws: how many looks of each image.
        attributes: acquisition attributes of the output, by name.
    """

    style: StyleKind | None = None
    references: tuple[Path, ...] = ()
    draws: int = 1
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """One look of every image.

    Attributes:
        style, attributes: what the adapter's `translate` is told.
        facts: what provenance says of it; empty for a method without styles.
        suffix: stands behind each output's name when there are several looks.
    """

    style: Any = None
    attributes: Tensor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""

    @property
    def key(self) -> str:
        """What tells this look from others."""
        return json.dumps(dict(self.facts), sort_keys=True)


def choose_looks(
    translator: Translator, direction: Direction, request: StyleRequest | None = None
) -> tuple[Look, ...]:
    """The looks that a request means for a trained method.

    `random`: each image's own draws, number 0, 1, ... `mean`: the middle of all styles. `reference`: the mean
    of the references' codes. `interpolate`: codes on the line between two references, or between two styles
    that the run's method draws.

    Raises:
        UsageError: the method can't do this, or the parts of the request don't fit together.
        InputError: a reference can't be read.
    """
    request = request or StyleRequest()
    method = str(translator.origin["method"])
    code, told = _read_attributes(translator.adapter, method, request, direction)
    kind = _choose_kind(translator.adapter, method, request)
    if kind is None:
        return (Look(attributes=code, facts=told),)
    _check_request(kind, request)
    styles = _make_styles(translator, kind, request, direction)
    width = max(2, len(str(len(styles) - 1)))
    return tuple(
        Look(style, code, told | facts, f"_s{number:0{width}d}" if len(styles) > 1 else "")
        for number, (style, facts) in enumerate(styles)
    )


def translate_plainly(
    translator: Translator,
    image: Float32[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"],
    direction: Direction,
) -> Float32[np.ndarray, "H W"]:
    """An image in [-1, 1] at its own matrix, in the look that the method chooses itself; nothing is written.

    Raises:
        UsageError: the method does not go this way.
    """
    look = choose_looks(translator, direction)[0]
    return translator.translate(image, valid, direction, style=look.style, attributes=look.attributes)[0]


def require_direction(translator: Translator, direction: Direction) -> None:
    """Refuse a way that the method does not go before anything is read or written.

    Raises:
        UsageError: there is no such way, or the method has none back.
    """
    if direction not in get_args(Direction):  # of Python callers: the command line knows its choices
        raise UsageError(
            "direction",
            found=repr(direction),
            expected=" or ".join(map(repr, get_args(Direction))),
            remedy="correct it",
        )
    if direction == "target-to-source" and not translator.adapter.bidirectional:
        raise UsageError(
            f"--direction {direction}",
            found=f"method '{translator.origin['method']}'",
            expected="source-to-target: it learns one way only",
            remedy=f"drop the option, or use a run of {', '.join(methods_where('bidirectional'))}",
        )


def parse_assignments(texts: Sequence[str], option: str, example: str = "view=PA") -> dict[str, str]:
    """`KEY=VALUE` texts as a dictionary; messages show an example.

    Raises:
        UsageError: a text is no assignment, or two give the same key.
    """
    values: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value) or key in values:
            raise UsageError(
                f"{option} {text}",
                found="a second value of the same name" if key in values else "no KEY=VALUE",
                expected=f"each name once, e.g. {example}",
                remedy=f"write {option} KEY=VALUE",
            )
        values[key] = value
    return values


def methods_where(attribute: str, value: str | None = None) -> list[str]:
    """Names of the methods whose class attribute is set, or holds `value`."""
    names = []
    for config in get_args(get_args(AdapterConfig)[0]):
        offered = getattr(get_type_hints(config.build)["return"], attribute)
        if offered and (value is None or value in offered):
            names.append(config.model_fields["name"].default)
    return sorted(names)


def _choose_kind(adapter: DomainAdapter, method: str, request: StyleRequest) -> StyleKind | None:
    """The style asked for, or the method's own; None when it has none."""
    asked = request.style is not None or request.draws > 1 or bool(request.references)
    if not adapter.styles:
        if asked:
            raise UsageError(
                f"--style {request.style}" if request.style else "--draws or --reference",
                found=f"method '{method}', which gives each image one look",
                expected=f"a run of a method with styles: {', '.join(methods_where('styles'))}",
                remedy="drop the option, or train such a method",
            )
        return None
    kind: StyleKind = request.style or adapter.styles[0]
    needed: StyleKind = "reference" if request.references else kind
    if not {kind, needed} <= set(adapter.styles):
        why = ", which has no style encoder to read references" if needed == "reference" else ""
        raise UsageError(
            f"--style {kind}",
            found=f"method '{method}'{why}",
            expected=" or ".join(adapter.styles) + (", without references" if why else ""),
            remedy=f"choose one of these, or a run of {' or '.join(methods_where('styles', needed))}",
        )
    return kind


def _check_request(kind: StyleKind, request: StyleRequest) -> None:
    given, draws = len(request.references), request.draws
    problem = None
    if draws < 1:
        problem = (f"--draws {draws}", "at least 1", "give a number of looks")
    elif kind == "interpolate" and draws < 2:
        problem = ("one look on the line", "at least 2", "add --draws, e.g. --draws 5")
    elif kind in ("mean", "reference") and draws > 1:
        problem = (f"--draws {draws}", f"1: all looks of --style {kind} are equal", "use --style random")
    elif kind == "reference" and not given:
        problem = ("no reference", "an image or folder of the output's domain", "add --reference FILE")
    elif kind == "interpolate" and given not in (0, 2):
        problem = (f"{given} --reference", "two, or none", "give the two ends of the line")
    elif kind in ("random", "mean") and given:
        problem = ("--reference beside it", "--style reference or interpolate", "drop one of the two")
    if problem is not None:
        found, expected, remedy = problem
        raise UsageError(f"--style {kind}", found=found, expected=expected, remedy=remedy)


def _make_styles(
    translator: Translator, kind: StyleKind, request: StyleRequest, direction: Direction
) -> list[tuple[Any, dict[str, Any]]]:
    """What the adapter is told for each look, and what provenance says of it."""
    adapter = translator.adapter
    if kind == "random":
        return [(draw, {"style": kind, "draw": draw}) for draw in range(request.draws)]
    if kind == "mean":
        return [("mean", {"style": kind})]
    read = [read_reference(translator, path, domains(direction)[1]) for path in request.references]
    # every image counts once, however often it is named by files and folders
    code_of = {sha256: code for codes, hashes in read for sha256, code in zip(hashes, codes, strict=True)}
    sources = {"references": list(code_of)} if read else {}
    if kind == "reference":
        code = torch.stack(list(code_of.values())).mean(dim=0)
        return [(code, {"style": kind, "code": _rounded(code)} | sources)]
    ends = torch.stack([codes.mean(dim=0) for codes, _ in read]) if read else _two_styles(adapter)
    fractions = torch.linspace(0, 1, request.draws).tolist()
    codes = interpolate_styles(ends[0], ends[1], request.draws)
    return [
        (code, {"style": kind, "draw": n, "fraction": round(f, _DECIMALS), "code": _rounded(code)} | sources)
        for n, (code, f) in enumerate(zip(codes, fractions, strict=True))
    ]


def read_reference(
    translator: Translator, location: Path, domain: Domain
) -> tuple[Float[Tensor, "N S"], tuple[str, ...]]:
    """Style codes of an image or a folder of images, and the files' hashes.

    They are read, normalised and brought to working scale as the run's images of that domain are.

    Raises:
        UsageError: there is no such file or folder.
        InputError: an image can't be read.
        NothingUsableError: there is none.
    """
    folder = discover(location)
    intensity = translator.data.intensity(domain)
    rows, skipped = inspect_folder(folder, domain, intensity, salt=secrets.token_bytes(16))
    if skipped:
        for item in folder.items:
            load_radiograph(item)  # raises, at the first that can't be read, what is wrong with that file
    codes = [_encode(translator, row, folder.root) for row in rows]
    return torch.stack(codes), tuple(row.sha256 for row in rows)


def _encode(translator: Translator, row: ManifestRow, root: Path) -> Float[Tensor, " S"]:
    radiograph = load_radiograph(item_of(row, root))
    intensity = input_intensity(row, translator.intensities[row.domain], translator.data)
    image = intensity.to_network(radiograph.pixels, radiograph.header)
    small, valid = translator.to_working_scale(image, radiograph.valid)
    small = torch.from_numpy(fill_outside(small[0].numpy(), valid[0].numpy() > 0))[None]
    device = translator.device
    with torch.inference_mode():
        code = translator.adapter.encode_style(small[None].to(device), row.domain, valid[None].to(device))
    if bool(torch.isfinite(code).all()):
        return code[0].float().cpu()
    raise InputError(
        f"reference of {row.rows} x {row.columns} pixels",
        found="a style that is not finite",
        expected="a radiograph with a valid area",
        remedy="take another reference",
    )


def _two_styles(adapter: DomainAdapter) -> Float[Tensor, "2 S"]:
    return adapter.sample_styles(2, torch.Generator().manual_seed(0))


def _read_attributes(
    adapter: DomainAdapter, method: str, request: StyleRequest, direction: Direction
) -> tuple[Tensor | None, dict[str, Any]]:
    """The code that the method is told, and what provenance says of it: the value of every attribute."""
    if not adapter.needs_attributes:
        if not request.attributes:
            return None, {}
        named = methods_where("needs_attributes")
        raise UsageError(
            "--attribute",
            found=f"method '{method}', which knows no attributes",
            expected=f"a run of a method with attributes: {', '.join(named) or 'none yet'}",
            remedy="drop the option, or train such a method",
        )
    code = adapter.read_attributes(request.attributes, direction)
    told = adapter.attributes.describe(code) if adapter.attributes else dict(request.attributes)
    return code, {"attributes": told}


def _rounded(code: Tensor) -> list[float]:
    return [round(value, _DECIMALS) for value in code.tolist()]
