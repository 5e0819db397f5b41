"""The examples of docs/house.md, taken from the page and run: a method, a loss, a file format."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import medi2i.io
from medi2i.adapters import Batch, Shared
from medi2i.errors import UnreadableImageError, UsageError
from medi2i.io import ImageFormat, read_radiograph, write_radiograph
from medi2i.losses import TranslationPair

_HOUSE = Path(__file__).resolve().parent.parent / "docs" / "house.md"


def block_of(file: str) -> str:
    """The fenced block of house.md that says it is `file`."""
    found = re.search(rf"^```\w+\n# {re.escape(file)}\n(.*?)^```", _HOUSE.read_text("utf-8"), re.M | re.S)
    assert found is not None, file
    return found[1]


def load(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The block as the module it would be."""
    path = tmp_path / Path(file).name
    path.write_text(block_of(file), encoding="utf-8")
    name = f"docs_example_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # pydantic looks annotations up there
    spec.loader.exec_module(module)
    return module


def batch(source: torch.Tensor, target: torch.Tensor, source_valid: torch.Tensor | None = None) -> Batch:
    return Batch(
        source=source,
        target=target,
        source_valid=torch.ones_like(source) if source_valid is None else source_valid,
        target_valid=torch.ones_like(target),
        host=torch.Generator(),
        device=torch.Generator(),
    )


def test_the_example_method_measures_mean_and_spread_of_valid_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear = load("medi2i/adapters/linear.py", tmp_path, monkeypatch)
    adapter = linear.LinearConfig().build(seed=0)
    source = torch.tensor([[[[-1.0, 1.0], [0.9, 0.9]]]])
    upper_row = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    target = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    losses = adapter.losses(adapter.players[0], batch(source, target, upper_row), Shared())
    # upper row: mean 0, deviation 1; target: mean 1/2, deviation 1/2
    torch.testing.assert_close(losses["mean"], torch.tensor(0.25))
    torch.testing.assert_close(losses["spread"], torch.tensor(0.25), atol=1e-6, rtol=0)


def test_the_example_method_learns_the_gain_and_offset_that_were_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear = load("medi2i/adapters/linear.py", tmp_path, monkeypatch)
    adapter = linear.LinearConfig().build(seed=0)
    player = adapter.players[0]
    source = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    networks = [getattr(adapter, name) for name in player.networks]
    optimizer = torch.optim.Adam([p for network in networks for p in network.parameters()], lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        losses = adapter.losses(player, batch(source, 0.5 * source + 0.2), Shared())
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    assert adapter.tone.weight.item() == pytest.approx(0.5, abs=0.01)
    assert adapter.tone.bias.item() == pytest.approx(0.2, abs=0.01)
    with torch.no_grad():
        translated = adapter.translate(torch.full((1, 1, 2, 2), 3.0), direction="source-to-target")
    assert translated.max() == 1.0
    with pytest.raises(UsageError, match="one way only"):
        adapter.translate(source, direction="target-to-source")


def test_the_example_preset_is_of_the_example_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linear = load("medi2i/adapters/linear.py", tmp_path, monkeypatch)
    preset = yaml.safe_load(block_of("configs/adapt/linear.yaml"))
    assert linear.LinearConfig.model_validate(preset["adapter"]) == linear.LinearConfig()


def test_the_example_loss_is_0_for_a_stretched_and_2_for_an_inverted_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("medi2i/losses/correlation.py", tmp_path, monkeypatch)
    loss = module.CorrelationConfig(weight=2.0).build()
    image = torch.tensor([[[[-0.5, 0.1], [0.3, 0.9]]]])
    half = torch.tensor([[[[-0.5, 0.1], [-0.3, -0.9]]]])  # the lower row inverted
    upper_row = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    assert loss(TranslationPair(image, 0.5 * image + 0.1)).item() == pytest.approx(0, abs=1e-6)
    assert loss(TranslationPair(image, -image)).item() == pytest.approx(2, abs=1e-6)
    assert loss(TranslationPair(image, half, valid=upper_row)).item() == pytest.approx(0, abs=1e-6)
    constant = torch.zeros(1, 1, 2, 2, requires_grad=True)
    loss(TranslationPair(image, constant)).backward()
    assert constant.grad is not None and torch.isfinite(constant.grad).all()


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_the_example_format_gives_back_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    pgm = load("medi2i/io/pgm.py", tmp_path, monkeypatch)
    entry = ImageFormat("pgm", (".pgm",), pgm.accepts, pgm.read, pgm.write)  # type: ignore[arg-type]
    monkeypatch.setattr(medi2i.io, "FORMATS", (*medi2i.io.FORMATS, entry))
    largest = np.iinfo(dtype).max
    pixels = np.array([[10, 32, 13], [0, 1, largest]], dtype=dtype)  # begins with line feed and blank
    file = tmp_path / "a.pgm"
    file.write_bytes(f"P5\n3 2\n{largest}\n".encode() + pixels.astype(f">{dtype}").tobytes())

    radiograph = read_radiograph(file)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert (radiograph.header.bits_stored, radiograph.header.value_range) == (
        8 * pixels.itemsize,
        (0, largest),
    )
    write_radiograph(tmp_path / "b.pgm", pixels, header=radiograph.header, template=file)
    assert (tmp_path / "b.pgm").read_bytes() == file.read_bytes()

    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UnreadableImageError, match="PGM pixels"):
        read_radiograph(file)
