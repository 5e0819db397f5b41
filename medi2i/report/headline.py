"""What stands first on the page of an evaluated run: the verdict's word, and three facts."""

from __future__ import annotations

from dataclasses import dataclass

from medi2i.report.results import Results
from medi2i.report.schema.controls import Controls
from medi2i.report.schema.preservation import Preservation, StructureShare
from medi2i.report.schema.verdict import Verdict
from medi2i.report.wording import counted, gap_words, patients_words, sentence, share_words, signed

EVALUATE = "medi2i evaluate RUN --target-labels DIR"
# What each word means to who has to decide, whatever the numbers.
_MEANINGS = {
    "use": "On real films, training on the translated images beat the best training without them.",
    "use with care": (
        "On real films, training on the translated images beat the best training without them, with the "
        "cautions below."
    ),
    "do not translate": "On real films, training without the translation did better.",
    "cannot tell": "The measurements do not decide. This is neither a yes nor a no.",
    "INVALID": "The measurements failed their own checks: no verdict is given. Rely on no number here.",
}
_KINDS = {
    "use": "use",
    "use with care": "care",
    "do not translate": "stop",
    "cannot tell": "unknown",
    "INVALID": "invalid",
}
_CONTROLS = {
    "passed": "Passed: by the written rule, changes of anatomy were found and changes of style left alone.",
    "failed": "Failed: the instruments missed known changes, or flagged what is none.",
    "underpowered": "Underpowered: too few images to know whether the instruments work.",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the headline: what it is, its value, and what it is over."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict as it is laid out.

    Attributes:
        word: the verdict's name, or that there is none.
        kind: which of the five looks it has.
        meaning: what the word means, one sentence.
        reason: the rule's numbers.
        difference: of the two rows compared, with its unit; empty where it did not come to that.
        cautions: each as one sentence.
        facts: gap closed, anatomy, controls; none of them where the verdict is INVALID.
    """

    word: str
    kind: str
    meaning: str
    reason: str
    difference: str
    cautions: tuple[str, ...]
    facts: tuple[Fact, ...]


def headline(results: Results) -> Headline | None:
    """The headline of an evaluated run; None for a run that was only adapted."""
    if (verdict := results.verdict) is None:
        return None
    shown = () if verdict.name == "INVALID" else _facts(results)
    return Headline(
        verdict.name,
        _KINDS[verdict.name],
        _MEANINGS[verdict.name] + _better(verdict),
        reason_of(verdict),
        _difference(verdict),
        tuple(map(sentence, verdict.cautions)),
        shown,
    )


def reason_of(verdict: Verdict) -> str:
    """The reason without the cautions that may end it: they are listed on their own."""
    reason = verdict.reason.strip()
    for caution in reversed(verdict.cautions):
        reason = reason.removesuffix(caution.strip()).rstrip()
    return sentence(reason) if reason else ""


def least_kept(preservation: Preservation) -> StructureShare | None:
    """The structure with the smallest share of images certified; None where no share is defined."""
    known = [item for item in preservation.structures if item.share.estimate is not None]
    return min(known, key=lambda item: item.share.estimate or 0.0, default=None)


def why_no_gap(results: Results) -> str:
    """Why a gap that was measured has no share; empty where it has one, or where it was not measured."""
    if (gap := results.gap_closed) is not None:
        return "" if gap.estimate is not None else gap.refused or "undefined"
    if results.downstream is None:
        return ""
    gaps = [row.gap_closed for row in results.downstream.rows if row.adapter and row.gap_closed]
    if any(gap.estimate is not None for gap in gaps):
        return "the verdict is about no row with the adapter"
    reasons = dict.fromkeys(gap.refused for gap in gaps if gap.refused)
    return "; ".join(reasons) or "no row with the adapter has a share"


def _difference(verdict: Verdict) -> str:
    found = verdict.difference
    if verdict.name == "INVALID" or found is None or found.estimate is None:
        return ""
    known = found.low is not None and found.high is not None
    ends = f"95 % interval {signed(found.low, 3)} to {signed(found.high, 3)}" if known else "no interval"
    return f"In mean Dice {signed(found.estimate, 3)} ({ends}; {patients_words(found.n_patients)})."


def _better(verdict: Verdict) -> str:
    return f" The better row: {verdict.better_row}." if verdict.better_row else ""


def _facts(results: Results) -> tuple[Fact, ...]:
    return (
        _gap_fact(results),
        _anatomy_fact(results.preservation),
        _controls_fact(results.controls),
    )


def _gap_fact(results: Results) -> Fact:
    if why := why_no_gap(results):
        return Fact("Gap closed", "refused", sentence(why))
    if (gap := results.gap_closed) is None:
        return Fact("Gap closed", "not known", f"Needs labelled real films: {EVALUATE}")
    over = f"{patients_words(gap.n_patients)}, {counted(gap.n_seeds, 'seed')}"
    note = f"Of the way from source only to training on labelled real films, by '{gap.row}'; {over}."
    return Fact("Gap closed", gap_words(gap.estimate, gap.low, gap.high), note + _gap_without(results))


def _gap_without(results: Results) -> str:
    """What the best row without the adapter closes: else all of the gap looks like the adapter's."""
    best = results.verdict.best_row if results.verdict is not None else None
    rows = results.downstream.rows if results.downstream is not None else ()
    gap = next((row.gap_closed for row in rows if row.name == best), None)
    if gap is None or gap.estimate is None:
        return ""
    return f" Without the translation: {gap_words(gap.estimate, gap.low, gap.high)}."


def _anatomy_fact(preservation: Preservation | None) -> Fact:
    name = "Anatomy kept"
    if preservation is None:
        return Fact(name, "not known", "Not measured: medi2i evaluate RUN")
    if (least := least_kept(preservation)) is None:
        return Fact(name, "undefined", "No structure could be judged in any image.")
    note = f"Of {counted(least.n, 'image')} certified in the least kept structure: {least.name}."
    return Fact(name, share_words(least.share), note)


def _controls_fact(controls: Controls | None) -> Fact:
    if controls is None:
        return Fact("Controls", "not run", "Not measured: medi2i evaluate RUN")
    word, _, note = _CONTROLS[controls.state].partition(": ")
    return Fact("Controls", word.lower(), sentence(note))
