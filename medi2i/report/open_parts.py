"""Values of `results.json` whose keys depend on the settings, such as strengths of controls, as text."""

from __future__ import annotations

from pydantic import JsonValue

from medi2i.report.wording import UNDEFINED, decimals_for, fixed


def value_text(value: JsonValue) -> str:
    """One open value in few characters: a number, `mean ± sd`, or a dash."""
    if isinstance(value, dict):
        mean, sd = value.get("mean"), value.get("sd")
        if not _is_number(mean):
            return UNDEFINED
        return f"{_number(mean)} ± {_number(sd)}" if _is_number(sd) else _number(mean)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(value_text(item) for item in value) or UNDEFINED
    return _number(value) if _is_number(value) else UNDEFINED


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: JsonValue) -> str:
    if isinstance(value, float):
        return fixed(value, _digits(value))
    return f"{value:,}" if isinstance(value, int) else UNDEFINED


def _digits(value: float) -> int:
    return decimals_for([value])
