"""How real the images look to a feature extractor, beside what chance does; it never ranks."""

from __future__ import annotations

from medi2i.report.open_parts import value_text
from medi2i.report.results import METHODS
from medi2i.report.schema.preservation import Realism
from medi2i.report.tables import Row, Section, Table
from medi2i.report.wording import UNDEFINED, counted, decimals_for, fixed, row_name

_DISTANCES = {"kid": "KID", "energy": "Energy", "frechet": "Fréchet"}


def realism_table(realism: Realism, method: str) -> Table:
    """Distances to images of the target, and the split-half floor."""
    floor = Row("target against target (floor)", tuple(_floor_text(realism, name) for name in _DISTANCES))
    rows = [floor]
    for name in METHODS:
        values = [getattr(getattr(realism.rows, name), distance) for distance in _DISTANCES]
        cells = tuple(fixed(value, decimals_for([value])) for value in values)
        rows.append(Row(row_name(name, method), cells, own=name == "translated"))
    digest = realism.extractor_sha256[:12] if realism.extractor_sha256 else "unknown"
    notes = (
        f"No unit. {counted(realism.n_source, 'image')} against {counted(realism.n_target, 'target image')}; "
        f"features of {realism.extractor} (SHA-256 {digest}). Floor: random halves of the target images.",
        "Never used to rank: looking real does not predict how useful the images are.",
    )
    return Table(("", *_DISTANCES.values()), (Section("", tuple(rows)),), notes)


def _floor_text(realism: Realism, name: str) -> str:
    return value_text(realism.floor[name]) if name in realism.floor else UNDEFINED
