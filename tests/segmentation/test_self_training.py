import json
from pathlib import Path

import pytest
import torch

from medi2i.adapters import Batch, Shared
from medi2i.errors import InterruptedRunError, SameDomainError, UsageError
from medi2i.segmentation import load_segmenter, train_segmenter
from medi2i.segmentation import training as segmenter_training
from medi2i.segmentation.held_out import HeldOutDice
from medi2i.segmentation.self_training import SelfTraining
from medi2i.segmentation.unlabelled import inspect_films
from medi2i.training.checkpoint import load_checkpoint
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks
from tests.segmentation.squares import NAMES, tiny_config, write_squares
from tests.training.toys import stored_bytes

EARLY = {"begin": 0.3, "full": 0.5}


def write_films(folder: Path, *, images: int = 5) -> Path:
    """Squares in another look, whose masks nobody can read."""
    write_squares(folder, images=images, first=100)
    for file in (folder / "masks").glob("*/*.png"):
        file.write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data"), images=9)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def adapted(data: Path, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_config(self_training=EARLY)
    out = tmp_path_factory.mktemp("model") / "m"
    return train_segmenter(config, [data], out=out, device="cpu", adapt_to=films)


def losses_of(model: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (model / "log.jsonl").read_text().splitlines())
    return [line["losses"] for line in lines if "losses" in line]


def test_films_are_learned_from_without_a_mask_that_can_be_read(adapted: Path):
    model = json.loads((adapted / "model.json").read_text())
    assert model["adapted_to"] == {"films": 5, "skipped": 0}
    # of 6 steps, the third is the first beyond 0.3
    assert ["segmenter/films" in losses for losses in losses_of(adapted)] == [False] * 2 + [True] * 4
    assert load_segmenter(adapted, device="cpu").structures == NAMES


def test_a_mask_beside_films_that_cannot_be_read_is_an_error_only_where_masks_are_asked_for(
    films: Path, tmp_path: Path
):
    with pytest.raises(Exception, match="scene_100"):
        train_segmenter(tiny_config(), [films], out=tmp_path / "m", device="cpu")
    rows = inspect_films(films, tiny_config().data).rows
    assert {(row.mask, row.structures) for row in rows} == {(None, ())}


def test_until_films_count_the_training_is_the_one_without_them(data: Path, adapted: Path, tmp_path: Path):
    plain = train_segmenter(tiny_config(self_training=EARLY), [data], out=tmp_path / "m", device="cpu")
    before, after = losses_of(plain), losses_of(adapted)
    assert before[:3] != after[:3]  # the third has the films' term
    assert before[:2] == after[:2]
    assert before[2]["segmenter/overlap"] == after[2]["segmenter/overlap"]
    assert before[3]["segmenter/overlap"] != after[3]["segmenter/overlap"]
    assert "adapted_to" not in json.loads((plain / "model.json").read_text())


def test_an_interrupted_and_resumed_self_training_equals_an_uninterrupted_one(
    data: Path, films: Path, adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stop, plain = StopRequest(), segmenter_training.train

    def stopped(*args, hooks: Hooks, **kwargs):
        def validate(trainee):
            stop.requested = True  # in step 3, when the teacher has taught once
            return hooks.validate(trainee)

        changed = Hooks(validate=validate, score=hooks.score, facts=hooks.facts)
        return plain(*args, hooks=changed, **kwargs)

    config, out = tiny_config(self_training=EARLY), tmp_path / "model"
    with monkeypatch.context() as patched:
        patched.setattr(segmenter_training, "train", stopped)
        with pytest.raises(InterruptedRunError, match="continue at step 3 with --resume"):
            train_segmenter(config, [data], out=out, device="cpu", stop=stop, adapt_to=films)
    with pytest.raises(UsageError, match="other images"):
        train_segmenter(config, [data], out=out, device="cpu", resume=True)
    train_segmenter(config, [data], out=out, device="cpu", resume=True, adapt_to=films)
    assert stored_bytes(out, 6) == stored_bytes(adapted, 6)
    assert (out / "model.json").read_bytes() == (adapted / "model.json").read_bytes()


def test_the_teacher_is_in_no_file_that_a_model_needs(adapted: Path):
    assert not [name for name in load_checkpoint(adapted / "checkpoints").networks if "teacher" in name]
    assert [n for n in load_checkpoint(adapted / "checkpoints", rank=0).local if n.startswith("teacher.")]


def test_the_student_of_a_film_sees_it_moved_and_no_gradient_reaches_the_teacher(data: Path):
    config = tiny_config(self_training={"begin": 0.0, "full": 0.0}, appearance=None)
    training = SelfTraining(config, NAMES, seed=0, steps=4)
    image, valid = torch.rand(2, 1, 32, 32), torch.ones(2, 1, 32, 32)
    rng = torch.Generator().manual_seed(0)
    seen: list[torch.Tensor] = []
    training.teacher.register_forward_hook(lambda module, given, found: seen.append(given[0]))
    training.network.register_forward_hook(lambda module, given, found: seen.append(given[0]))
    masks = torch.zeros(2, 2, 32, 32)
    batch = Batch(-image, image, valid, valid, rng, rng, source_mask=masks, step=1)
    assert not training.adapted
    losses = training.losses(training.players[0], batch, Shared())
    assert training.adapted
    _, teachers, students = seen
    torch.testing.assert_close(teachers, image)
    assert not torch.equal(students, image)
    sum(losses.values(), torch.zeros(())).backward()
    assert not any(p.requires_grad for p in training.teacher.parameters())
    assert any(p.grad is not None and p.grad.any() for p in training.network.parameters())


def test_films_that_are_among_the_images_with_masks_are_refused(data: Path, tmp_path: Path):
    with pytest.raises(SameDomainError, match="check the folders with masks, and --adapt-to"):
        train_segmenter(tiny_config(), [data], out=tmp_path / "m", device="cpu", adapt_to=data)


def test_weights_that_films_shaped_are_better_than_weights_that_they_did_not():
    early, late = HeldOutDice(0.9, adapted=False), HeldOutDice(0.6, adapted=True)
    assert late.better_than(early, 0.75)
    assert not early.better_than(late, 0.75)
    assert HeldOutDice(0.7).better_than(late, 0.75)
