import numpy as np
import pytest
import torch
from tiny_data import write_source, write_target

from medi2i.data.settings import DataConfig, FramingConfig
from medi2i.data.unpaired import UnpairedCrops, unpaired_loader
from tests.data.images import load_domain, make_config, make_image


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> UnpairedCrops:
    folder = tmp_path_factory.mktemp("unpaired")
    config = DataConfig(working_size=32, crop_size=32, framing=FramingConfig())
    source = load_domain(write_source(folder / "src", images=3), config, with_masks=True)
    target = load_domain(write_target(folder / "tgt", images=5), config)
    return UnpairedCrops(source, target, config, seed=7)


def test_a_sample_depends_on_seed_and_number_only(crops):
    forward = {n: crops[n] for n in range(8)}
    backward = {n: crops[n] for n in reversed(range(8))}
    for number, sample in forward.items():
        assert sample.keys() == {"source", "source_valid", "source_mask", "target", "target_valid"}
        for key, value in sample.items():
            torch.testing.assert_close(backward[number][key], value, rtol=0, atol=0)
    assert not torch.equal(forward[0]["source"], forward[1]["source"])


def test_another_seed_gives_other_samples(crops):
    other = UnpairedCrops(crops._domains["source"], crops._domains["target"], crops._config, seed=8)
    assert not torch.equal(other[0]["source"], crops[0]["source"])


def test_the_longer_domain_is_walked_through_once_an_epoch():
    def make_domain(count):
        return [make_image(np.full((32, 32), n / 10)) for n in range(count)]

    crops = UnpairedCrops(make_domain(2), make_domain(6), make_config(), seed=0)
    assert crops.epoch_length == 6
    shown = [round(float(crops[n]["target"].mean()) * 10) for n in range(12)]
    assert sorted(shown[:6]) == sorted(shown[6:]) == [0, 1, 2, 3, 4, 5]
    assert shown[:6] != shown[6:]


def test_batches_are_the_same_with_and_without_workers(crops):
    def batches(workers):
        return list(unpaired_loader(crops, batch_size=2, first=1, last=4, rank=0, world=1, workers=workers))

    alone, helped = batches(0), batches(2)
    assert len(alone) == 3
    for first, second in zip(alone, helped, strict=True):
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, rtol=0, atol=0)
    torch.testing.assert_close(alone[0]["source"][1], crops[3]["source"])


def test_processes_share_the_samples_without_overlap(crops):
    def numbers(rank):
        loader = unpaired_loader(crops, batch_size=2, first=0, last=2, rank=rank, world=2, workers=0)
        return list(loader.sampler)

    assert (numbers(0), numbers(1)) == ([0, 1, 4, 5], [2, 3, 6, 7])


def test_a_loader_leaves_the_global_random_state_alone(crops):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    next(iter(unpaired_loader(crops, batch_size=1, first=0, last=1, rank=0, world=1, workers=0)))
    assert torch.equal(torch.get_rng_state(), before)
