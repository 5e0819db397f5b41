"""`--to bundle`: a folder that MONAI's own loader runs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import safetensors.torch
import torch

from medi2i.errors import ExportMismatchError
from medi2i.exporters.bundle_config import bundle_inference, bundle_metadata
from medi2i.exporters.card import describe_training, write_card
from medi2i.exporters.network import TranslationNetwork
from medi2i.exporters.subject import Subject

_LICENCE = (
    "The licence of these weights is not stated. Whoever trained them decides, within what the licences of\n"
    "the training images allow; put it here before you pass the bundle on.\n"
)


def write_bundle(subject: Subject, folder: Path) -> list[str]:
    """Write configs, weights and model card, load the weights again, and compare.

    Returns:
        what is worth telling.

    Raises:
        ExportMismatchError: what was written is not what the run holds.
    """
    configs, models, docs = (folder / name for name in ("configs", "models", "docs"))
    for part in (configs, models, docs):
        part.mkdir()
    (configs / "metadata.json").write_text(_json(bundle_metadata(subject)), encoding="utf-8")
    (configs / "inference.json").write_text(_json(bundle_inference(subject)), encoding="utf-8")
    _write_weights(subject, models)
    (docs / "training_data.json").write_text(_json(describe_training(subject)), encoding="utf-8")
    write_card(subject, docs / "README.md")
    (folder / "LICENSE").write_text(_LICENCE, encoding="utf-8")
    return ["model card: docs/README.md; state the licence in LICENSE before you pass it on"]


def _write_weights(subject: Subject, models: Path) -> None:
    """`model.pt` and `model.safetensors`: the same tensors under the same names, of this direction only."""
    network = TranslationNetwork(subject.adapter, subject.direction)
    trained = subject.translator.adapter.state_dict()
    prefix = "adapter."
    weights = {key: trained[key.removeprefix(prefix)].contiguous() for key in network.state_dict()}
    encoded = io.BytesIO()  # encoders hide the operating system's reason of a failed write
    torch.save(weights, encoded)
    (models / "model.pt").write_bytes(encoded.getvalue())
    (models / "model.safetensors").write_bytes(safetensors.torch.save(weights))
    loaded = torch.load(models / "model.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(loaded)
    if any(not torch.equal(loaded[key], weights[key]) for key in weights):
        raise ExportMismatchError(
            models / "model.pt",
            found="other weights than were written",
            expected="the run's",
            remedy="nothing was kept; check the disk",
        )


def _json(values: object) -> str:
    return json.dumps(values, indent=2) + "\n"
