"""What lies outside the valid area of a radiograph, and the shape of that area, teach nobody anything."""

import pytest
import torch
from torch import Tensor

from tests.adapters.transparent import Fold, GrayLevel, Scale, all_losses, batch, image, transparent


@pytest.mark.parametrize("augmented", [False, True])
def test_pixels_outside_the_valid_area_change_no_loss(augmented: bool):
    def losses(source: Tensor, target: Tensor) -> dict[str, Tensor]:
        adapter = transparent(
            structure_losses=[{"name": "mind"}, {"name": "gradient_correlation"}],
            augmentation={"probability": 1.0} if augmented else None,
        )
        adapter.source_to_target, adapter.target_to_source = Fold(), Fold()
        return all_losses(adapter, batch(source, target, source_valid, target_valid))

    source, target = image(0, size=32), image(1, size=32)
    source_valid, target_valid = torch.ones_like(source), torch.ones_like(target)
    source_valid[..., :5] = 0
    target_valid[0, :, 23:, 9:] = 0
    clean = losses(source, target)
    dirty = losses(
        torch.where(source_valid > 0, source, image(2, size=32)),
        torch.where(target_valid > 0, target, image(3, size=32)),
    )
    assert len(clean) == 12
    for name, value in clean.items():
        assert torch.equal(value, dirty[name]), name
        assert value > 0, name


def test_pixels_inside_the_valid_area_change_every_loss():
    source, target = image(0), image(1)
    clean = all_losses(transparent(), batch(source, target))
    other = all_losses(transparent(), batch(image(2), image(3)))
    assert not any(torch.equal(clean[name], other[name]) for name in clean)


def test_the_shape_of_an_edge_tells_the_discriminators_nothing():
    """The same picture in both domains, cut in different shapes: real and translated look alike."""
    adapter = transparent(pool_size=0)
    adapter.source_to_target, adapter.target_to_source = Scale(1.0), Scale(1.0)
    source_valid, target_valid = torch.ones(2, 1, 16, 16), torch.ones(2, 1, 16, 16)
    source_valid[..., :5] = 0
    target_valid[..., 9:, :] = 0
    picture = image(0)
    losses = all_losses(adapter, batch(picture, picture, source_valid, target_valid))
    joint = source_valid * target_valid
    for discriminator in (adapter.target_discriminator, adapter.source_discriminator):
        assert isinstance(discriminator, GrayLevel)
        in_generators_turn, real, translated = discriminator.seen
        assert torch.equal(real, translated)
        assert torch.equal(real, in_generators_turn)
        assert (real[joint == 0] == -1).all()
        assert torch.equal(real[joint == 1], picture[joint == 1])
    assert losses["discriminators/target"] > 0


def test_a_batch_without_a_common_valid_area_says_nothing_to_the_discriminators():
    source, target = image(0), image(1)
    left, right = torch.ones_like(source), torch.ones_like(target)
    left[..., 8:], right[..., :8] = 0, 0
    losses = all_losses(transparent(), batch(source, target, left, right))
    assert losses["discriminators/target"] == 0
    assert losses["generators/adversarial_source"] == 0
    assert losses["generators/cycle_source"] > 0
