import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medi2i.segmentation import Segmenter, load_segmenter, train_segmenter
from medi2i.segmentation.calibration import Answers
from tests.segmentation.squares import tiny_config, write_squares


def answers_of(logit: float, share_right: float) -> Answers:
    """One structure, 10 x 10 pixels of one logit, of which a share is right."""
    answers, masks = Answers(1), np.zeros((1, 10, 10), dtype=bool)
    masks.reshape(-1)[: round(100 * share_right)] = True
    answers.add(np.full((1, 10, 10), logit, np.float32), masks, np.ones((10, 10), dtype=bool))
    return answers


def test_a_network_that_is_too_sure_is_cooled_to_how_often_it_is_right():
    # it says sigmoid(4) = .98 and is right in 80 of 100: sigmoid(4 / T) = .8 at T = 4 / ln 4
    assert answers_of(4.0, 0.8).fit_temperature() == pytest.approx(4 / math.log(4), rel=1e-3)


def test_a_network_that_is_too_unsure_gets_a_temperature_below_one():
    assert answers_of(0.5, 0.8).fit_temperature() == pytest.approx(0.5 / math.log(4), rel=1e-3)


def test_the_temperature_has_limits_and_nothing_valid_leaves_it_at_one():
    assert answers_of(1.0, 1.0).fit_temperature() == pytest.approx(0.1, rel=1e-2)
    answers = Answers(1)
    answers.add(np.ones((1, 4, 4), np.float32), np.zeros((1, 4, 4), bool), np.zeros((4, 4), bool))
    assert answers.fit_temperature() == 1
    assert Answers(0).fit_temperature() == 1


def test_pixels_without_an_image_have_no_say():
    answers, masks = answers_of(4.0, 0.8), np.zeros((1, 10, 10), dtype=bool)
    answers.add(np.full((1, 10, 10), 9.0, np.float32), masks, np.zeros((10, 10), dtype=bool))
    assert answers.fit_temperature() == pytest.approx(4 / math.log(4), rel=1e-3)


def test_a_prediction_is_made_with_the_temperature():
    class Constant(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.full_like(image, 3.0)

    cold = Segmenter(Constant(), ("one",), tiny_config(), torch.device("cpu"))
    warm = dataclasses.replace(cold, temperature=3.0)
    image, valid = np.zeros((32, 32), np.float32), np.ones((32, 32), dtype=bool)
    assert cold.predict(image, valid).mean() == pytest.approx(1 / (1 + math.exp(-3)), abs=1e-5)
    assert warm.predict(image, valid).mean() == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-5)


def test_a_trained_model_keeps_its_temperature_and_one_without_has_one(tmp_path: Path):
    data = write_squares(tmp_path / "data", images=6)
    training = tiny_config().training.model_copy(update={"steps": 2})
    config = tiny_config(training=training.model_dump())
    out = train_segmenter(config, [data], out=tmp_path / "m", device="cpu")
    facts = json.loads((out / "model.json").read_text())
    assert 0.1 <= facts["temperature"] <= 10
    assert load_segmenter(out, device="cpu").temperature == facts["temperature"]
    del facts["temperature"]
    (out / "model.json").write_text(json.dumps(facts))
    assert load_segmenter(out, device="cpu").temperature == 1
