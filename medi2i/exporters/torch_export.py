"""`--to torch-export`: a program that torch alone loads."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch

from medi2i.exporters.graph import require_agreement, require_way, trace
from medi2i.exporters.subject import Subject

PROGRAM, FACTS = "model.pt2", "medi2i.json"


def write_torch_export(subject: Subject, folder: Path) -> list[str]:
    """Write `model.pt2` with `medi2i.json` inside and beside it, load it again, and compare.

    Returns:
        what is worth telling.

    Raises:
        UsageError: the method can't be written as a graph.
        ExportMismatchError: what was written gives other images.
    """
    network = require_way(subject, "torch-export")
    program = trace(subject, network)
    facts = json.dumps(subject.facts() | {"shortest_side": network.shortest_side}, indent=1)
    encoded = io.BytesIO()
    torch.export.save(program, encoded, extra_files={FACTS: facts})
    (folder / PROGRAM).write_bytes(encoded.getvalue())
    (folder / FACTS).write_text(facts, encoding="utf-8")
    loaded = torch.export.load(folder / PROGRAM).module()

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            result: np.ndarray = loaded(*(torch.from_numpy(value) for value in inputs.values())).numpy()
        return result

    worst = require_agreement(subject, network, run, what="a torch.export program")
    return [f"largest difference at three sizes: {worst:.2g} of the range"]
