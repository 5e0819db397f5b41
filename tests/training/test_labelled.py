"""Methods that are told attributes: what reaches them, and that a resumed run equals an uninterrupted one."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from medi2i.adapters import Batch, Player, Shared
from medi2i.adapters.base import Labelled
from medi2i.data.attributes import AttributesConfig
from medi2i.data.classes import row_codes
from medi2i.data.labelled import LabelledCrops
from medi2i.data.settings import DataConfig
from medi2i.data.unpaired import UnpairedCrops
from medi2i.errors import InterruptedRunError
from medi2i.training.engine import make_accelerator
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks, time_steps, train
from medi2i.training.settings import TrainingConfig
from tests.evaluation.rows import make_row
from tests.training.toys import Numbers, random_images, stored_bytes

STEPS = 7
CONFIG = TrainingConfig(
    steps=STEPS, batch_size=2, accumulate=2, average=0.9, validate_every=3, preview_every=1, log_every=1
)
TOLD = AttributesConfig(groups={"view": ("PA", "AP")})
VIEWS = {"source": ["PA", "AP", None], "target": ["AP", "AP", "PA", None, "PA"]}


class Told(Numbers):
    """Its painter learns from everything that a method with attributes is given."""

    needs_attributes: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.attributes = TOLD
        self.labelled_groups, self.group_images = 2, 3
        self.seen: list[Batch] = []

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        losses = super().losses(player, batch, shared)
        if player.name == "painter":
            self.seen.append(batch)
            assert batch.source_attributes is not None
            losses["known"] = (self.painter(batch.source) * batch.source_attributes.mean()).mean() / 10
            if batch.labelled is not None:
                losses["labelled"] = self.painter(batch.labelled.image).square().mean() / 10
        return losses


def run(
    folder: Path, adapter: Told, *, workers: int = 0, stop: StopRequest | None = None, **hooks: Any
) -> None:
    rows: dict[Any, Any] = {
        domain: [
            replace(make_row(n, attributes={"view": view} if view else {}), domain=domain)
            for n, view in enumerate(views)
        ]
        for domain, views in VIEWS.items()
    }
    images: dict[Any, Any] = {"source": random_images(3, seed=1), "target": random_images(5, seed=2)}
    data = DataConfig(working_size=None, crop_size=32)
    codes = {domain: row_codes(rows[domain], TOLD) for domain in rows}
    train(
        adapter,
        UnpairedCrops(images["source"], images["target"], data, seed=4, codes=codes),
        CONFIG,
        folder=folder,
        seed=11,
        accelerator=make_accelerator("cpu", "fp32"),
        stop=stop or StopRequest(),
        hooks=Hooks(**hooks),
        workers=workers,
        labelled=LabelledCrops(images, rows, TOLD, data, groups=2, images=3, seed=4),
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    folder, adapter = tmp_path_factory.mktemp("uninterrupted"), Told()
    run(folder, adapter)
    return folder, adapter


def test_images_come_with_their_codes_and_labelled_ones_in_every_second_step(
    uninterrupted: tuple[Path, Told],
):
    seen = uninterrupted[1].seen
    assert [batch.labelled is not None for batch in seen] == [
        step % 2 == 0 for step in range(STEPS) for _ in "12"
    ]
    for batch in seen:
        assert batch.source_attributes is not None
        assert batch.target_attributes is not None
        assert batch.source_attributes[:, :2].tolist() == [[1, 0]] * 2
        assert batch.target_attributes[:, :2].tolist() == [[0, 1]] * 2
        if batch.labelled is not None:
            assert batch.labelled.image.shape == batch.labelled.valid.shape == (6, 1, 32, 32)
            assert batch.labelled.attributes.min() >= 0
            assert batch.labelled.group.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("step", "workers"), [(2, 0), (5, 1)])
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(
    uninterrupted: tuple[Path, Told], tmp_path: Path, step: int, workers: int
):
    stop = StopRequest()

    def preview(adapter: Told, now: int) -> None:
        stop.requested = now == step

    with pytest.raises(InterruptedRunError, match=f"continue at step {step}"):
        run(tmp_path, Told(), workers=workers, stop=stop, preview=preview)
    adapter = Told()
    run(tmp_path, adapter, workers=workers)
    assert stored_bytes(tmp_path, STEPS) == stored_bytes(uninterrupted[0], STEPS)
    rest = uninterrupted[1].seen[-len(adapter.seen) :]
    for batch, expected in zip(adapter.seen, rest, strict=True):
        assert batch.source.equal(expected.source)
        assert _same(batch.labelled, expected.labelled)


def _same(first: Labelled | None, second: Labelled | None) -> bool:
    if first is None or second is None:
        return first is second
    return first.image.equal(second.image) and first.attributes.equal(second.attributes)


def test_timing_gives_codes_of_the_methods_own_classes():
    adapter = Told()
    assert time_steps(adapter, CONFIG, 8, make_accelerator("cpu", "fp32")) > 0
    assert [batch.labelled is not None for batch in adapter.seen] == [False] * 2 + [True] * 2 + [False] * 2
    classes = {tuple(code) for code in TOLD.classes().tolist()}
    for batch in adapter.seen:
        assert batch.source_attributes is not None
        assert {tuple(code) for code in batch.source_attributes.tolist()} <= classes
        assert batch.source.shape == torch.Size([2, 1, 8, 8])
