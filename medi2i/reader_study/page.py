"""The page of a reader study: one HTML file with its pictures in it, which asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from medi2i.reader_study.settings import ReaderStudyConfig
from medi2i.reader_study.trials import Pair

ANSWER_FORMAT = 1
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193


def compose_page(
    study: str, pairs: Sequence[Pair], pictures: Mapping[str, bytes], config: ReaderStudyConfig
) -> str:
    """The page as text.

    The key of trials and checks is not in it. Practice pairs hold a hash of the film's token, since the page
    tells their answers; whoever reads the source can undo it.

    Args:
        study: mark of page, key and answers.
        pairs: what is shown, in blocks of two of a kind.
        pictures: PNG files by token.
        config: how long pictures are shown.
    """
    import jinja2

    script, style = (_read(name) for name in ("page.js", "page.css"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    kinds = [pair.kind for pair in pairs]
    return environment.from_string(_read("page.html.j2")).render(
        study=study,
        style=style,
        script=script,
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        content=_to_script_data(_describe(study, pairs, pictures, config)),
        practice=kinds.count("practice"),
        scored=len(kinds) - kinds.count("practice"),
        seconds=config.seconds,
    )


def mark_practice(study: str, token: str) -> str:
    """32-bit FNV-1a hash of a picture's token, with which the page recognises the film of a practice pair."""
    value = _FNV_OFFSET
    for byte in f"{study}:{token}".encode():
        value = (value ^ byte) * _FNV_PRIME % 2**32
    return f"{value:08x}"


def _describe(
    study: str, pairs: Sequence[Pair], pictures: Mapping[str, bytes], config: ReaderStudyConfig
) -> dict[str, Any]:
    def blocks(*kinds: str) -> list[list[dict[str, Any]]]:
        found = []
        for kind in kinds:
            chosen = [_describe_pair(study, pair) for pair in pairs if pair.kind == kind]
            found += [chosen[start : start + 2] for start in range(0, len(chosen), 2)]
        # in the tokens' order, which tells checks and trials not apart
        return sorted(found, key=lambda block: str(block[0]["token"]))

    return {
        "format": ANSWER_FORMAT,
        "study": study,
        "seconds": config.seconds,
        "practice": blocks("practice"),
        "scored": blocks("trial", "check"),
        "pictures": {
            token: base64.b64encode(content).decode("ascii") for token, content in sorted(pictures.items())
        },
    }


def _describe_pair(study: str, pair: Pair) -> dict[str, Any]:
    described: dict[str, Any] = {
        "token": pair.token,
        "pictures": [picture.token for picture in pair.shown],
    }
    if pair.kind == "practice":
        described["mark"] = mark_practice(study, pair.real.token)
    return described


def _to_script_data(content: dict[str, Any]) -> str:
    """JSON that can't end the element it stands in."""
    return json.dumps(content).replace("<", "\\u003c")


def _csp_hash(text: str) -> str:
    """What the page's policy names, so that no other script or style can run in it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _read(name: str) -> str:
    return resources.files("medi2i.reader_study").joinpath(name).read_text(encoding="utf-8")
