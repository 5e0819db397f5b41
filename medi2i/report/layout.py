"""Templates to pages: one look for all, nothing from outside the file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any


def render(name: str, content: Mapping[str, Any]) -> str:
    """A page from a template of this folder; a name that the content lacks is an error."""
    # imported here: a process that only trains never draws
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(read_part),
    )
    return environment.get_template(name).render(content, style=read_part("page.css"))


def read_part(name: str) -> str:
    """The text of a template or style sheet of this folder."""
    return resources.files("medi2i.report").joinpath(name).read_text(encoding="utf-8")
