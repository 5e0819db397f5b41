import json
from pathlib import Path

import numpy as np
import pytest
import torch

from medi2i.adapters import Batch, Shared
from medi2i.errors import (
    CheckpointError,
    ConfigError,
    InterruptedRunError,
    MaskMismatchError,
    OutputExistsError,
    UsageError,
)
from medi2i.image import IntensityConfig, fit_intensity
from medi2i.io import read_radiograph
from medi2i.segmentation import load_segmenter, train_segmenter
from medi2i.segmentation import training as segmenter_training
from medi2i.segmentation.held_out import HeldOutDice
from medi2i.segmentation.network import SegmenterTraining
from medi2i.segmentation.prediction import show_outside
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks
from tests.segmentation.squares import NAMES, SIDE, tiny_config, write_squares
from tests.training.toys import stored_bytes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_segmenter(tiny_config(), [data], out=tmp_path_factory.mktemp("model") / "m", device="cpu")


def test_squares_are_found_in_images_of_patients_that_were_not_trained_on(data: Path, tmp_path: Path):
    training = tiny_config().training.model_copy(update={"steps": 60, "validate_every": 20})
    config = tiny_config(training=training.model_dump())
    out = train_segmenter(config, [data], out=tmp_path / "model", device="cpu")
    reached = json.loads((out / "model.json").read_text())
    assert reached["structures"] == list(NAMES)
    assert reached["images"] == {"train": 7, "validation": 2, "test": 3}
    assert min(reached["held_out"]["test"]["dice"].values()) > 0.85
    # a new scene, through the functions that others call
    new = write_squares(tmp_path / "new", images=1, first=50)
    radiograph = read_radiograph(new / "images" / "scene_50.png")
    image = fit_intensity(radiograph, IntensityConfig()).to_network(radiograph.pixels, radiograph.header)
    segmenter = load_segmenter(out, device="cpu")
    assert segmenter.structures == NAMES
    valid = np.ones((SIDE, SIDE), dtype=bool)
    valid[:, :4] = False
    probability = segmenter.predict(image, valid)
    assert probability.shape == (2, SIDE, SIDE)
    assert probability.dtype == np.float32
    assert not probability[:, :, :4].any()
    outer = read_radiograph(new / "masks" / "scene_50" / "outer.png").pixels > 0
    assert np.mean((probability[1] > 0.5)[valid] == outer[valid]) > 0.95


def test_images_of_any_matrix_are_answered_at_their_matrix(uninterrupted: Path):
    segmenter = load_segmenter(uninterrupted, device="cpu")
    for shape in ((50, 41), (7, 90), (32, 32)):
        image = np.linspace(-1, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
        probability = segmenter.predict(image, np.ones(shape, dtype=bool))
        assert probability.shape == (2, *shape)
        assert (probability >= 0).all()
        assert (probability <= 1).all()


def test_the_network_takes_batches_and_is_frozen(uninterrupted: Path):
    network = load_segmenter(uninterrupted, device="cpu").network
    assert network(torch.zeros(3, 1, 32, 48)).shape == (3, 2, 32, 48)
    assert not any(p.requires_grad for p in network.parameters())


def test_an_interrupted_and_resumed_training_equals_an_uninterrupted_one(
    data: Path, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stop, plain = StopRequest(), segmenter_training.train

    def stopped(*args, hooks: Hooks, **kwargs):
        def validate(trainee):
            stop.requested = True  # in the step of the first validation
            return hooks.validate(trainee)

        changed = Hooks(validate=validate, score=hooks.score, facts=hooks.facts)
        return plain(*args, hooks=changed, **kwargs)

    out = tmp_path / "model"
    with monkeypatch.context() as patched:
        patched.setattr(segmenter_training, "train", stopped)
        with pytest.raises(InterruptedRunError, match="continue at step 3 with --resume"):
            train_segmenter(tiny_config(), [data], out=out, device="cpu", stop=stop)
    with pytest.raises(CheckpointError, match="no finished segmenter"):
        load_segmenter(out, device="cpu")
    with pytest.raises(OutputExistsError, match="--resume"):
        train_segmenter(tiny_config(), [data], out=out, device="cpu")
    train_segmenter(tiny_config(), [data], out=out, device="cpu", resume=True)
    assert stored_bytes(out, 6) == stored_bytes(uninterrupted, 6)
    assert (out / "model.json").read_bytes() == (uninterrupted / "model.json").read_bytes()
    # what is complete is left as it is
    before = (out / "checkpoints" / "LATEST").stat().st_mtime_ns
    train_segmenter(tiny_config(), [data], out=out, device="cpu", resume=True)
    assert (out / "checkpoints" / "LATEST").stat().st_mtime_ns == before


def test_a_resume_with_other_settings_or_images_is_refused(data: Path, uninterrupted: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="another configuration"):
        train_segmenter(tiny_config(dice_share=1), [data], out=uninterrupted, device="cpu", resume=True)
    other = write_squares(tmp_path / "other", first=70)
    with pytest.raises(UsageError, match="other images"):
        train_segmenter(tiny_config(), [other], out=uninterrupted, device="cpu", resume=True)


def test_folders_are_joined_when_they_show_the_same_structures(data: Path, tmp_path: Path):
    other = write_squares(tmp_path / "other", images=4, first=20)
    training = tiny_config().training.model_copy(update={"steps": 1})
    config = tiny_config(training=training.model_dump())
    out = train_segmenter(config, [data, other], out=tmp_path / "model", device="cpu", seed=5)
    model = json.loads((out / "model.json").read_text())
    assert sum(model["images"].values()) == 16
    strange = write_squares(tmp_path / "strange", images=4, names=("inner", "rim"))
    with pytest.raises(MaskMismatchError, match="structures inner, rim; expected inner, outer"):
        train_segmenter(config, [data, strange], out=tmp_path / "no", device="cpu")


def test_a_folder_without_masks_and_a_thin_structure_that_is_not_there_are_refused(
    data: Path, tmp_path: Path
):
    with pytest.raises(UsageError, match="images without masks"):
        train_segmenter(tiny_config(), [data / "images" / "scene_00.png"], out=tmp_path / "a", device="cpu")
    with pytest.raises(ConfigError, match="'rib'; expected structures of the masks: inner, outer"):
        train_segmenter(tiny_config(thin={"rib": 2}), [data], out=tmp_path / "b", device="cpu")


def test_thin_structures_are_a_term_of_their_own(data: Path, tmp_path: Path):
    training = tiny_config().training.model_copy(update={"steps": 1})
    config = tiny_config(thin={"inner": 4}, training=training.model_dump())
    out = train_segmenter(config, [data], out=tmp_path / "model", device="cpu")
    first = json.loads((out / "log.jsonl").read_text().splitlines()[0])
    assert set(first["losses"]) == {"segmenter/overlap", "segmenter/thin"}


def test_the_larger_dice_is_better_and_a_draw_keeps_the_earlier():
    assert HeldOutDice(0.1).better_than(None, 0.75)
    assert HeldOutDice(0.6).better_than(HeldOutDice(0.5), 0.75)
    assert not HeldOutDice(0.5).better_than(HeldOutDice(0.5), 0.75)


def test_crops_that_the_network_cannot_halve_are_refused():
    with pytest.raises(ValueError, match="a multiple of 2 from 4 on"):
        tiny_config(data={"working_size": 33, "crop_size": 33})


@pytest.mark.parametrize("outside", ["background", "ignored"])
def test_what_is_outside_is_taught_as_background_or_not_at_all(outside: str):
    config = tiny_config(outside=outside, appearance=None)
    training = SegmenterTraining(config, ("one",), seed=0)
    image, valid, masks = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    valid[..., :16] = 0

    def lost(mask: torch.Tensor) -> float:
        rng = torch.Generator().manual_seed(0)
        batch = Batch(image, image, valid, valid, rng, rng, source_mask=mask)
        return training.losses(training.players[0], batch, Shared())["overlap"].item()

    # a mask outside says something only where what is outside counts
    claimed = masks.clone()
    claimed[..., :16] = 1
    assert (lost(claimed) == lost(masks)) == (outside == "ignored")
    shown = show_outside(np.zeros((4, 4), np.float32), np.eye(4, dtype=bool), config)
    assert shown[0, 1] == (-1 if outside == "background" else 0)
    assert shown[2, 2] == 0


def test_a_training_starts_from_the_chosen_weights_of_another(
    data: Path, uninterrupted: Path, tmp_path: Path
):
    still = tiny_config(optimizer={"learning_rate": 1e-9, "betas": [0.9, 0.999]})
    out = train_segmenter(still, [data], out=tmp_path / "tuned", device="cpu", init_from=uninterrupted)
    before, after = (
        load_segmenter(model, device="cpu").network.state_dict() for model in (uninterrupted, out)
    )
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)
    fresh = train_segmenter(still, [data], out=tmp_path / "fresh", device="cpu")
    drawn = load_segmenter(fresh, device="cpu").network.state_dict()
    assert any(not torch.allclose(drawn[name], value, atol=1e-3) for name, value in before.items())


def test_a_segmenter_of_other_structures_is_no_start(uninterrupted: Path, tmp_path: Path):
    other = write_squares(tmp_path / "other", names=("core", "rim"))
    with pytest.raises(CheckpointError, match="a segmenter of inner, outer; expected core, rim"):
        train_segmenter(tiny_config(), [other], out=tmp_path / "model", device="cpu", init_from=uninterrupted)
    with pytest.raises(CheckpointError, match="no finished segmenter"):
        train_segmenter(
            tiny_config(), [other], out=tmp_path / "model", device="cpu", init_from=tmp_path / "nowhere"
        )
