"""Numbers and names as people read them: sensible digits, true minus signs, a dash for what is undefined."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from medi2i.report.schema.part import Interval, Share

UNDEFINED = "–"
# Fewer patients than this make a mean's interval too unsure to decide anything (evaluation.md, §B).
EXPLORATORY_BELOW = 50
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


def all_of(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(parts[:-1])] if len(parts) > 1 else []), parts[-1]])


def signed(value: float | None, decimals: int) -> str:
    """`fixed` with a plus before what is above 0."""
    text = fixed(value, decimals)
    return f"+{text}" if value is not None and float(f"{value:.{decimals}f}") > 0 else text


def span(low: float | None, high: float | None, decimals: int) -> str:
    """`0.90 to 0.94`; a dash where there is no interval."""
    return UNDEFINED if low is None or high is None else f"{fixed(low, decimals)} to {fixed(high, decimals)}"


def with_interval(value: Interval | None, decimals: int) -> str:
    """A mean, and its interval on a second line; a dash alone where the mean is undefined."""
    if value is None or value.estimate is None:
        return UNDEFINED
    ends = "" if value.low is None or value.high is None else f"\n{span(value.low, value.high, decimals)}"
    return fixed(value.estimate, decimals) + ends


def share_words(share: Share) -> str:
    """`95 % (86 % to 98 %)`; a dash where undefined."""
    if share.estimate is None:
        return UNDEFINED
    ends = (
        ""
        if share.low is None or share.high is None
        else f" ({percent(share.low, 1)} to {percent(share.high, 1)})"
    )
    return f"{percent(share.estimate, 1)}{ends}"


def patients_words(number: int | None) -> str:
    """`12 patients`, or that they are unknown."""
    return "patients unknown" if number is None else counted(number, "patient")


def exploratory_note(patients: int | None) -> str | None:
    """What is to be said of so few patients; None where they are enough."""
    if patients is None:
        return "Exploratory: patients are unknown, so images stand for them and intervals are too narrow."
    if patients < EXPLORATORY_BELOW:
        return f"Exploratory: {patients_words(patients)}, fewer than {EXPLORATORY_BELOW}."
    return None


def sentence(text: str) -> str:
    """Text of another part as a sentence of its own: a capital at the start and a stop at the end."""
    stripped = text.strip()
    return stripped[:1].upper() + stripped[1:] + ("" if stripped.endswith((".", "!", "?")) else ".")


def words_of(name: str) -> str:
    """A name of the file in words: `warp_1_px` as `warp 1 px`."""
    return name.replace("_", " ")


def by_reason(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Names with their reasons as `a, b: reason`, one a reason, in the order of their first names."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons:
        groups.setdefault(reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in groups.items()]


def gap_words(estimate: float | None, low: float | None, high: float | None) -> str:
    """A share of the gap in per cent with its interval: `80 % (70 % to 90 %)`; a dash where undefined."""
    if estimate is None:
        return UNDEFINED
    ends = "" if low is None or high is None else f" ({fixed(100 * low, 0)} % to {fixed(100 * high, 0)} %)"
    return f"{fixed(100 * estimate, 0)} %{ends}"
