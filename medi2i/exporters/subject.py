"""What is exported: one direction of a run, and in plain numbers what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medi2i.adapters import Direction
from medi2i.errors import UsageError
from medi2i.io.dicom_origin import software_version
from medi2i.training.checkpoint import load_checkpoint
from medi2i.translation import Translator, load_translator, require_direction
from medi2i.translation.translator import domains


@dataclass(frozen=True)
class Subject:
    """One direction of a finished run.

    Attributes:
        run: the run folder.
        translator: its method with the weights that translate, on the CPU.
        adapter: the method's settings, as the checkpoint keeps them.
        direction: which way.
    """

    run: Path
    translator: Translator
    adapter: dict[str, Any]
    direction: Direction

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.adapter["name"])

    def facts(self) -> dict[str, Any]:
        """Everything that a program needs to use the network without medi2i, as JSON."""
        translator = self.translator
        return {
            "medi2i": software_version(),
            "method": self.method,
            "direction": self.direction,
            "step": translator.origin["step"],
            "weights_sha256": translator.origin["weights_sha256"],
            "image": "float32, bone bright, in [-1, 1]",
            "working_size": translator.working_size,
            "size_multiple": translator.adapter.size_multiple,
            "input_intensity": self.input_intensity(),
            "output_intensity": self.output_intensity(),
        } | self._code_facts()

    def input_intensity(self) -> dict[str, Any]:
        """From stored values to [-1, 1]: 2 (value - low) / (high - low) - 1, clipped.

        With `fit` image, `low` and `high` are percentiles of each image; those that are given are the
        domain's, for images that have none.
        """
        domain = domains(self.direction)[0]
        settings = self.translator.data.intensity(domain)
        return settings.model_dump(mode="json") | self.translator.intensities[domain].to_dict()

    def output_intensity(self) -> dict[str, float]:
        """From [-1, 1] to stored values: low + (value + 1) / 2 (high - low)."""
        return self.translator.intensities[domains(self.direction)[1]].to_dict()

    def _code_facts(self) -> dict[str, Any]:
        """What the second input says, of a method that has one."""
        adapter = self.translator.adapter
        way = adapter.way(self.direction)
        if way is None or way.code is None:
            return {}
        if way.code == "style":
            return {"style": {"size": way.code_size, "drawn_from": "N(0, 1)", "mean": [0.0] * way.code_size}}
        told = adapter.attributes
        bits = [] if told is None else [[name, value] for name in told.names for value in told.values(name)]
        default = adapter.read_attributes({}, self.direction).tolist()
        classes = [] if told is None else told.classes().tolist()
        return {"attributes": {"bits": bits, "unknown": -1.0, "default": default, "classes": classes}}


def open_subject(run: Path, direction: Direction) -> Subject:
    """One direction of a run, for export.

    Raises:
        UsageError: there is no such run, or its method has no network or does not go this way.
        CheckpointError: the run holds no (undamaged) checkpoint.
    """
    translator = load_translator(run, device="cpu")
    adapter, method = translator.adapter, translator.origin["method"]
    require_direction(translator, direction)
    if not adapter.players and adapter.way(direction) is None:
        raise UsageError(
            run,
            found=f"method '{method}', which has no network",
            expected="a run of a method that trains one",
            remedy="translate with `medi2i translate`",
        )
    state = load_checkpoint(run / "checkpoints", "BEST").state
    return Subject(run, translator, dict(state["adapter"]), direction)
