"""What a set says of itself: counts while its records go by, and `DATASET_CARD.md` at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medi2i.synthesis.limits import LIMITS_OF_ANY
from medi2i.synthesis.settings import SynthesizeConfig

CARD = "DATASET_CARD.md"


@dataclass(slots=True)
class Counts:
    """What a set holds, without the records.

    Attributes:
        drawn: images drawn.
        accepted: images in the set.
        by: of these, by split, view, run and structure (that they show).
        rejected: by reason.
        structure_px, overlapping_px, hidden_px: pixels by structure: all, those of another structure too,
            and those that a label map gave to another one.
        patients: by split.
        unspaced: images without a spacing.
        not_known: images in which the gate could not judge some structure.
    """

    drawn: int = 0
    accepted: int = 0
    by: dict[str, Counter[str]] = field(
        default_factory=lambda: {key: Counter() for key in ("split", "view", "run", "structure")}
    )
    rejected: Counter[str] = field(default_factory=Counter)
    structure_px: Counter[str] = field(default_factory=Counter)
    overlapping_px: Counter[str] = field(default_factory=Counter)
    hidden_px: Counter[str] = field(default_factory=Counter)
    patients: dict[str, set[str]] = field(default_factory=dict)
    unspaced: int = 0
    not_known: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """One line of the manifest."""
        self.drawn += 1
        gate = row["gate"]
        if not row["accepted"]:
            self.rejected[gate["reason"]] += 1
            return
        self.accepted += 1
        self.by["split"][row["split"]] += 1
        self.by["view"][row["view"] or "unknown"] += 1
        self.by["run"][row["run"]["folder"]] += 1
        self.by["structure"].update(row["structure_px"].keys())
        for name in ("structure_px", "overlapping_px", "hidden_px"):
            getattr(self, name).update(row.get(name, {}))
        self.patients.setdefault(row["split"], set()).add(row["patient"])
        self.unspaced += row["spacing_mm"] is None
        self.not_known += bool(gate and gate["not_known"])


@dataclass(frozen=True)
class About:
    """What a card says beside the counts.

    Attributes:
        config: settings of the set.
        request: all that its bytes depend on.
        structures: in order.
        format_words: what the files are, and what reads them.
        limits: what is known to be wrong with this set, one sentence each.
    """

    config: SynthesizeConfig
    request: Mapping[str, Any]
    structures: Sequence[str]
    format_words: str
    limits: Sequence[str]


def write_card_text(about: About, counts: Counts) -> str:
    """The card, in Markdown. No date and no path: the same set has the same card."""
    parts = [
        "# Synthetic radiographs",
        f"{counts.accepted} labelled synthetic radiographs: DRRs translated by medi2i, no acquired films.",
        _table(
            ("", ""),
            [
                ("licence", about.config.licence),
                ("intended use", about.config.intended_use),
                ("structures", ", ".join(about.structures)),
                ("seed", str(about.config.seed)),
                ("images drawn", str(counts.drawn)),
                ("images in the set", str(counts.accepted)),
                ("images rejected", str(sum(counts.rejected.values()))),
            ],
        ),
        "## Files",
        about.format_words,
        "`manifest.jsonl` has a line for every image drawn: source and run by hash, seeds, what the gate "
        "said, size, spacing, patient and split. `synthesis.json` holds all settings: the same command gives "
        "the same bytes.",
        "## Split by patient",
        _table(
            ("split", "images", "patients"),
            [
                (name, str(counts.by["split"][name]), str(len(counts.patients.get(name, ()))))
                for name in ("train", "validation", "test")
            ],
        ),
        "## Gate",
        *_gate(about, counts),
        "## Structures",
        *_structures(about, counts),
        "## Sources and runs",
        *_origins(about, counts),
        "## Known limits",
        "\n".join(f"- {limit}" for limit in (*about.limits, *LIMITS_OF_ANY)),
    ]
    return "\n\n".join(parts) + "\n"


def _gate(about: About, counts: Counts) -> list[str]:
    if not about.config.gate:
        return [
            "**No gate.** The set was asked for with `--no-gate`: no image was checked. Structures may have "
            "moved, gone or been invented."
        ]
    parts = [
        "Every image passed the certificate's checks of `medi2i evaluate`, with thresholds from the controls "
        "of its own run: structures kept, nothing that its source does not explain, neither constant nor "
        "empty nor inverted nor flipped. Others were left out"
        + (", and are in `rejected/`." if about.config.keep_rejected else "."),
        _table(
            ("run", "thresholds from", *_INSTRUMENTS),
            [
                (
                    run["folder"],
                    run["gate"]["source"],
                    *(_short(run["gate"]["thresholds"].get(name)) for name in _INSTRUMENTS),
                )
                for run in about.request["runs"]
            ],
        ),
    ]
    if counts.rejected:
        rows = [(reason, str(count)) for reason, count in sorted(counts.rejected.items())]
        parts.append(_table(("rejected for", "images"), rows))
    if counts.not_known:
        parts.append(f"In {counts.not_known} images some structure had too little texture to be judged.")
    if about.config.randomise is not None:
        parts.append(
            "Random looks were put on top after the check: they move no pixel, and of the result image "
            "sanity alone was asked."
        )
    return parts


def _structures(about: About, counts: Counts) -> list[str]:
    written = bool(counts.hidden_px) or about.request["overlap"] == "priority"
    columns = ["structure", "images", "of its pixels also in another structure"]
    columns += ["of its pixels written as another one"] if written else []
    rows = []
    for name in about.structures:
        pixels = counts.structure_px[name]
        shares = [counts.overlapping_px, *([counts.hidden_px] if written else [])]
        rows.append(
            (name, str(counts.by["structure"][name]), *(_share(each[name], pixels) for each in shares))
        )
    parts = [_table(columns, rows)]
    if written:
        names = ", ".join(about.request["priority"])
        parts.append(f"One label map, in which overlap is lost. Who wins, in this order: {names}.")
    elif about.request["overlap"] == "binary":
        parts.append("One binary data set a structure: overlap is kept.")
    else:
        parts.append("A plane for each structure: overlap is kept.")
    return parts


def _origins(about: About, counts: Counts) -> list[str]:
    sources = about.request["sources"]
    views = ", ".join(f"{name} {count}" for name, count in sorted(counts.by["view"].items()))
    rows = [
        (
            run["folder"],
            run["method"],
            str(run["step"]),
            f"`{run['weights_sha256']}`",
            str(counts.by["run"][run["folder"]]),
        )
        for run in about.request["runs"]
    ]
    look = "none" if about.config.randomise is None else about.config.randomise.model_dump_json()
    balance = " and ".join(about.config.balance) or "none"
    return [
        f"Sources: {sources['images']} labelled DRRs of {sources['patients']} patient(s), fingerprint "
        f"`{sources['fingerprint']}` (files by hash in the manifest). Views: {views or 'none'}.",
        _table(("run", "method", "step", "weights (sha256)", "images"), rows),
        f"Looks of a source image before it comes again: {about.config.styles} by each method that draws "
        f"styles, 1 by others. Random looks on top: {look}. Balance: {balance}.",
    ]


_INSTRUMENTS = ("geometry", "content", "orientation", "labels")


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
