"""From all numbers to the verdict: what the written rule is given, and what the report shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from medi2i.downstream import DownstreamResult
from medi2i.evaluation.verdict import Controls, Evidence, Verdict, reach_verdict

# Thresholds flag about 2 % of images in which nothing changed: a share below this is no chance of theirs.
LEAST_CERTIFIED = 0.95
# Where every second image has lost a structure, its masks are of no use.
DESTROYED_BELOW = 0.5


def conclude(
    controls: Controls, preservation: Mapping[str, Any], table: DownstreamResult | None
) -> dict[str, Any]:
    """The sections `verdict`, `valid` and `gap_closed` of the results.

    Args:
        controls: how the instruments did.
        preservation: that section of the results.
        table: of segmenters on labelled films; None without any.
    """
    verdict = reach_verdict(
        Evidence(
            controls=controls,
            rows=() if table is None else table.rows,
            own_minus_other=None if table is None else table.own_minus_other,
            target_films_trainable=table is not None and table.target_films_trainable,
            transductive=table is not None and table.transductive,
            warnings=_warn(preservation),
            destroyed=_destroyed(preservation),
        )
    )
    return {
        "verdict": _describe(verdict),
        "valid": verdict.name != "INVALID",
        "gap_closed": None if table is None else _gap_of(verdict.adapter_row, table.facts),
    }


def _warn(preservation: Mapping[str, Any]) -> tuple[str, ...]:
    """What the certificate says that a user of the images has to know."""
    spoiled = sum(bool(image["sanity"]) for image in preservation["images"])
    found = f"{spoiled} of {len(preservation['images'])} images are inverted, constant or empty."
    weak = _certified_below(preservation, LEAST_CERTIFIED)
    return ((found,) if spoiled else ()) + tuple(f"{words}." for words in weak)


def _destroyed(preservation: Mapping[str, Any]) -> tuple[str, ...]:
    """What is so badly kept that the masks can't be trusted."""
    images = preservation["images"]
    spoiled = sum(bool(image["sanity"]) for image in images)
    found = f"{spoiled} of {len(images)} images are inverted, constant or empty."
    lost = _certified_below(preservation, DESTROYED_BELOW)
    return ((found,) if spoiled > (1 - DESTROYED_BELOW) * len(images) else ()) + tuple(
        f"{words}." for words in lost
    )


def _certified_below(preservation: Mapping[str, Any], share: float) -> list[str]:
    return [
        f"{structure['name']} is certified in {structure['kept']} of {structure['n']} images"
        for structure in preservation["structures"]
        if structure["kept"] < share * structure["n"]
    ]


def _describe(verdict: Verdict) -> dict[str, Any]:
    found = asdict(verdict)
    return found | {"cautions": list(verdict.cautions)}


def _gap_of(row: str | None, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """How much of the gap the row that the verdict compares has closed."""
    rows: Sequence[Mapping[str, Any]] = facts["rows"]
    gap = next((found["gap_closed"] for found in rows if found["name"] == row), None)
    return None if gap is None else {"row": row, **gap}
