import math

import numpy as np
import pytest
import torch
from tiny_data import write_source, write_target

from medi2i.adapters import CycleGANConfig
from medi2i.data.dataset_folder import discover
from medi2i.data.decoding import resize
from medi2i.data.manifest import inspect_folder
from medi2i.data.settings import DataConfig
from medi2i.evaluation import Domains, fix_reference, validation, validator
from medi2i.image import IntensityConfig, IntensityMap
from medi2i.metrics.features import distribution_features
from tests.evaluation.rows import CONFIG, nothing


def test_validation_sees_validation_images_only(domains, reference, monkeypatch):
    seen = []
    original = validation.translate_whole

    def spy(adapter, image, *rest):
        seen.append(image.shape)
        return original(adapter, image, *rest)

    monkeypatch.setattr(validation, "translate_whole", spy)
    adapter = CycleGANConfig.model_validate(
        {
            "generator": {"width": 2, "blocks": 0, "residual_output": True},
            "discriminator": {"width": 2, "layers": 1},
        }
    ).build(seed=0)
    score = validator(domains, reference, CONFIG)(adapter)
    assert len(seen) == sum(row.split == "validation" for row in domains.source) == 2
    # an untrained residual generator is nearly the identity
    assert score.gradient_correlation > 0.99
    assert 0 < score.distance < math.inf


def test_validation_images_that_do_not_fit_are_read_again(domains, monkeypatch):
    read = []
    original = Domains.read
    monkeypatch.setattr(Domains, "read", lambda self, row: (read.append(row.id), original(self, row))[1])
    # one image at working scale: 26 x 32 pixels, four bytes of image and one of valid area
    images = validation._ValidationImages(domains, budget=26 * 32 * 5)
    rounds = [[image for image, _ in images] for _ in range(2)]
    first, second = (row.id for row in domains.rows("source", "validation"))
    assert read == [first, second, second]
    for one, again in zip(*rounds, strict=True):
        assert torch.equal(one, again)


def test_one_validation_image_a_side_still_gives_a_distance(tmp_path):
    rows = {}
    for name, domain, write in (("src", "source", write_source), ("tgt", "target", write_target)):
        folder = discover(write(tmp_path / name, images=8))
        found, _ = inspect_folder(folder, domain, IntensityConfig(), salt=b"salt")
        wanted = ["train"] * 4 + ["validation"] + ["test"] * 3
        rows[domain] = [type(r)(**{**vars(r), "split": s}) for r, s in zip(found, wanted, strict=True)]
    maps = {"source": IntensityMap(0, 1), "target": IntensityMap(0, 1)}
    config = DataConfig(working_size=32, crop_size=32)
    small = Domains(rows["source"], rows["target"], tmp_path / "src", tmp_path / "tgt", maps, config)
    fixed = fix_reference(small, CONFIG, seed=0, tick=nothing)
    networks = {"generator": {"width": 2, "blocks": 0, "residual_output": True}}
    score = validator(small, fixed, CONFIG)(CycleGANConfig.model_validate(networks).build(seed=0))
    # an untrained residual generator shrinks the range to 0.97; of the aspect 32 x 40, 26 x 32 are seen
    image = next(small.images("source", "validation"))
    seen = 0.97 * resize(torch.from_numpy(image.image)[None], (26, 32))[0].numpy()
    features = fixed.scaler.transform(distribution_features(seen, feature_size=64))
    expected = 2 * np.linalg.norm(features - fixed.target["validation"][0])
    assert score.distance == pytest.approx(expected, rel=1e-3)
