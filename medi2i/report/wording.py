"""Numbers and names as people read them: sensible digits, true minus signs, a dash for what is undefined."""

from __future__ import annotations

import math
from collections.abc import Iterable

from medi2i.report.results import Interval

UNDEFINED = "–"
_BASELINES = {"identity": "identity (nothing changed)", "histogram": "histogram matching"}


def fixed(value: float | None, decimals: int) -> str:
    """A number with fixed decimals, so that columns align; a dash for None."""
    if value is None:
        return UNDEFINED
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}")


def decimals_for(values: Iterable[float | None], *, significant: int = 3, most: int = 4) -> int:
    """Decimals that show the largest of `values` with so many significant digits."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    if largest == 0:
        return significant - 1
    return min(most, max(0, significant - 1 - math.floor(math.log10(largest))))


def percent(part: float, whole: float) -> str:
    """A share in per cent: one decimal below 10 %, none above."""
    share = 100 * part / whole
    return f"{share:.1f} %" if 0 < share < 9.95 else f"{share:.0f} %"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `2 images`, `1,200 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A time in the unit that fits: `42 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def moment(iso: str) -> str:
    """A date and time as the clock of the machine showed it: `2026-03-01 14:05`."""
    return iso[:16].replace("T", " ")


def method_name(method: str) -> str:
    """Name of a run's method in a sentence."""
    return _BASELINES.get(method, method)


def row_name(row: str, method: str) -> str:
    """Name of a table's row; the run's own row says so, since its method may be a baseline."""
    return f"this run: {method_name(method)}" if row == "translated" else _BASELINES[row]


def interval_note(interval: Interval) -> str:
    """What the interval of a mean is over, or why there is none."""
    if interval.patients_unknown:
        return "patients unknown: 95 % interval over images, too narrow when a patient has several"
    if interval.low is None:
        return "no interval: one patient" if interval.n_patients == 1 else "no interval: no two values"
    return f"95 % t interval over {counted(interval.n_patients or 0, 'patient')}"


def flag_name(flag: str) -> str:
    """A sanity flag as an adjective."""
    return "not finite" if flag == "nonfinite" else flag


def any_of(parts: list[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join([*([", ".join(parts[:-1])] if len(parts) > 1 else []), parts[-1]])
