import pytest
import torch
from torch.testing import assert_close

from medi2i.data.paired import PairedCrops
from medi2i.data.settings import DataConfig, FramingConfig
from medi2i.errors import MaskMismatchError
from tests.training.toys import random_images


def pairs(**changes: object) -> PairedCrops:
    """Four pairs whose target is half of its source; the source has a mask of its bright pixels."""
    source = [item | {"mask": (item["image"] > 0).float()} for item in random_images(4, seed=0)]
    target = [{"image": 0.5 * item["image"], "valid": item["valid"].clone()} for item in source]
    for item in target:
        item["valid"][..., :3] = 0
    config = DataConfig.model_validate({"working_size": None, "crop_size": 32} | changes)
    return PairedCrops(source, target, config, seed=3)


@pytest.mark.parametrize("framing", [None, FramingConfig(zoom=0.2, rotation_deg=8)])
def test_both_crops_are_one_window(framing: FramingConfig | None):
    crops = pairs(framing=framing, flip=True)
    for number in range(6):
        sample = crops[number]
        assert sample["source"].shape == sample["target"].shape == (1, 32, 32)
        inside = (sample["source"].abs() < 0.99) if framing else torch.ones(1, 32, 32, dtype=torch.bool)
        # bicubic values are limited to [-1, 1] in each
        assert_close(sample["target"][inside], 0.5 * sample["source"][inside], rtol=0, atol=1e-5)
        assert sample.keys() == {"source", "target", "source_valid", "target_valid", "source_mask"}


def test_planes_keep_their_own_valid_area_and_mask():
    sample = next(s for n in range(50) if (s := pairs()[n])["target_valid"].min() == 0)
    assert sample["source_valid"].min() == 1
    assert torch.equal(sample["source_mask"], (sample["source"] > 0).float())


def test_an_epoch_walks_through_all_pairs_and_a_number_decides_its_sample():
    crops, again = pairs(), pairs()
    assert crops.epoch_length == 4
    means = {round(crops[n]["source"].mean().item(), 6) for n in range(4)}
    assert len(means) == 4
    backwards = [again[n]["source"] for n in reversed(range(8))]
    assert all(
        torch.equal(crops[n]["source"], image) for n, image in zip(reversed(range(8)), backwards, strict=True)
    )


def test_what_is_no_pair_is_refused():
    config = DataConfig(working_size=None, crop_size=32)
    with pytest.raises(ValueError, match="2 source and 1 target images"):
        PairedCrops(random_images(2, seed=0), random_images(1, seed=0), config, seed=0)
    odd = PairedCrops(random_images(1, seed=0), random_images(1, seed=0, size=44), config, seed=0)
    with pytest.raises(MaskMismatchError, match=r"\(40, 40\) and \(44, 44\)"):
        odd[0]
