"""Adding a method takes one file and one entry (and a preset to call it by name): done here, and run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file
from tiny_data import write_source, write_target

ROOT = Path(__file__).resolve().parent.parent
FILE = '''"""A method of two numbers: target = slope * source + offset."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from medi2i.adapters.base import AdamConfig, Batch, Direction, DomainAdapter, Player, Shared
from medi2i.config import Config


class ToyConfig(Config):
    """One learning rate."""

    name: Literal["toy"] = "toy"
    optimizer: AdamConfig = AdamConfig(learning_rate=0.05)

    def build(self, *, seed: int) -> Toy:
        """Starts as the identity."""
        return Toy(self)


class Toy(DomainAdapter):
    """Learns to show the source with half of the target's contrast."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.line = nn.Conv2d(1, 1, 1)
        nn.init.ones_(self.line.weight)
        nn.init.zeros_(self.line.bias)
        self.players = (Player("line", ("line",), config.optimizer),)

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        translated = self.line(batch.source)
        return {"contrast": (translated.std() - 0.5 * batch.target.std()) ** 2}

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        if direction == "source-to-target":
            return self.line(image).clamp(-1, 1)
        return ((image - self.line.bias) / self.line.weight).clamp(-1, 1)
'''
PRESET = """
adapter: {name: toy}
data: {working_size: 32, crop_size: 32, source_intensity: {fit: domain}, target_intensity: {fit: domain}}
training: {steps: 60, validate_every: 20, preview_every: 60, batch_size: 4, minimum_gradient_correlation: 0.5}
evaluation: {feature_size: 64, floor_repeats: 10}
"""


def test_a_method_is_one_file_and_one_entry(tmp_path):
    for folder in ("medi2i", "configs"):
        shutil.copytree(
            ROOT / folder, tmp_path / "house" / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "house" / "medi2i" / "adapters" / "toy.py").write_text(FILE)
    registry = tmp_path / "house" / "medi2i" / "adapters" / "__init__.py"
    entry = registry.read_text().replace(
        "    | CycleGANConfig\n", "    | CycleGANConfig\n    | ToyConfig\n", 1
    )
    entry = entry.replace(
        "\nAdapterConfig =", "from medi2i.adapters.toy import ToyConfig\n\nAdapterConfig =", 1
    )
    assert entry.count("ToyConfig") == 2
    registry.write_text(entry)
    (tmp_path / "house" / "configs" / "adapt" / "toy.yaml").write_text(PRESET)
    domains = ["--src", write_source(tmp_path / "src"), "--tgt", write_target(tmp_path / "tgt")]
    command = ["-m", "medi2i", "adapt", "--method", "toy", *domains, "--out", "run", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "house"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["run"]["method"] == "toy"
    assert results["masks"] == {"in_source": 12, "carried": 12, "identical": 12}
    assert (tmp_path / "run" / "report.html").is_file()
    # both domains fill their range alike, so that half of the contrast is a slope of about one half
    weights = load_file(tmp_path / "run" / "checkpoints" / "step-0000060" / "networks.safetensors")
    assert 0.3 < float(weights["line.weight"]) < 0.7
