"""The model card of an exported bundle: what it was trained on, what was measured of it, what it can't do."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from medi2i.data.manifest import ManifestRow, read_manifest
from medi2i.errors import CheckpointError
from medi2i.evaluation import read_results
from medi2i.exporters.subject import Subject
from medi2i.io.atomic import write_text_atomically
from medi2i.translation.translator import domains

_LIMITS = """\
- For research. It does not make diagnostic images, and what it adds to an image was never in a patient.
- It was trained on two domains and knows no other: another view, body part, detector or age gives images
  that nobody has judged.
- It can remove and invent findings. Judge each image (`medi2i evaluate` does) before you train on it.
- Quantities (attenuation, contrast, noise) of its outputs mean nothing.
"""


def write_card(subject: Subject, path: Path) -> None:
    """`README.md` of the bundle's `docs/`."""
    facts = subject.facts()
    lines = [
        f"# {subject.method}, {subject.direction}",
        "",
        f"Changes the look of a radiograph from the {domains(subject.direction)[0]} to the "
        f"{domains(subject.direction)[1]} domain of the run it was trained in. Geometry and matrix stay.",
        "",
        f"- medi2i {facts['medi2i']}, step {facts['step']}, weights `{facts['weights_sha256']}` (SHA-256)",
        f"- input: {facts['image']}; longer side {facts['working_size'] or 'as it is'}, sides multiples of "
        f"{facts['size_multiple']}",
        f"- stored values to [-1, 1]: {_flat(facts['input_intensity'])}; back: "
        f"{_flat(facts['output_intensity'])}",
        "- needs medi2i installed: `configs/metadata.json` names versions",
        "",
        "## Training data",
        "",
        *_training_table(subject),
        "",
        "The hash of a set is the SHA-256 of its images' sorted SHA-256, one a line; `training_data.json` "
        "lists them. It names no file and no patient.",
        "",
        "## Measured preservation",
        "",
        *_measured(subject),
        "",
        "## Limits",
        "",
        _LIMITS,
    ]
    write_text_atomically(path, "\n".join(lines))


def describe_training(subject: Subject) -> dict[str, Any]:
    """Of each domain and split, the images by hash, and how many patients they are of."""
    found: dict[str, Any] = {}
    for domain, split, rows in _sets(subject):
        hashes = sorted(row.sha256 for row in rows)
        found.setdefault(domain, {})[split] = {
            "images": len(rows),
            "patients": len({row.patient for row in rows if row.patient}) or None,
            "sha256": hashlib.sha256("\n".join(hashes).encode()).hexdigest(),
            "images_sha256": hashes,
        }
    return found


def _sets(subject: Subject) -> list[tuple[str, str, list[ManifestRow]]]:
    try:
        rows = read_manifest(subject.run / "manifest.jsonl")
    except CheckpointError:  # a run that was passed on without it
        return []
    keys = sorted({(row.domain, row.split) for row in rows})
    return [(d, s, [row for row in rows if (row.domain, row.split) == (d, s)]) for d, s in keys]


def _training_table(subject: Subject) -> list[str]:
    sets = describe_training(subject)
    if not sets:
        return ["Not known: the run holds no manifest."]
    lines = ["| Domain | Split | Images | Patients | SHA-256 |", "|---|---|---|---|---|"]
    for domain, splits in sets.items():
        for split, one in splits.items():
            patients = one["patients"] or "unknown"
            lines.append(f"| {domain} | {split} | {one['images']} | {patients} | `{one['sha256'][:16]}…` |")
    return lines


def _measured(subject: Subject) -> list[str]:
    """What `results.json` says, if it is of these weights and this direction."""
    try:
        results = read_results(subject.run / "results.json")
    except CheckpointError:
        results = {}
    of_these = results.get("run", {}).get("weights_sha256") == subject.translator.origin["weights_sha256"]
    if not of_these or subject.direction != "source-to-target":
        return ["Nothing was measured of these weights in this direction."]
    kept = results["structure"]["translated"]["gradient_correlation"]
    distance = results["distance"]
    lines = [
        f"- gradient correlation with the source, 1 is all of it: median {_number(kept['median'])}, "
        f"5th percentile {_number(kept['p5'])}",
        f"- distance to the target domain: {_number(distance['translated'])} (untranslated "
        f"{_number(distance['identity'])}, real images among themselves {_number(distance['floor'])})",
    ]
    preservation = results.get("preservation")
    if preservation is None:
        return [*lines, "- no certificate: the run was not evaluated (`medi2i evaluate`)"]
    for structure in preservation["structures"]:
        lines.append(
            f"- {structure['name']}: certified as kept in {structure['kept']} of {structure['n']} images"
        )
    for instrument in preservation["instruments"]:
        lines.append(
            f"- flagged by '{instrument['name']}': {instrument['flagged']} of {instrument['n']} images"
        )
    verdict = results.get("verdict")
    if verdict is not None:
        lines.append(f"- worth training on? {verdict['name']}. {verdict['reason']}")
    return lines


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _flat(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )
