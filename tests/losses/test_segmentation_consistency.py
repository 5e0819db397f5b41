"""What the loss has beyond its mathematics: whose segmenter it asks, and thin structures."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.errors import ConfigError
from medi2i.losses import SegmentationConsistencyConfig, StructureLosses, TranslationPair


class Lines(nn.Module):
    """A segmenter of one structure: what is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(40.0))

    def forward(self, image: Tensor) -> Tensor:
        return self.gain * image


def pair(cut: int) -> TranslationPair:
    """A line of one pixel, and its translation in which the last `cut` of 9 rows are gone."""
    source = -torch.ones(1, 1, 9, 9)
    source[..., 4] = 1
    translated = source.clone()
    if cut:
        translated[..., -cut:, :] = -1
    return TranslationPair(source, translated, source > 0)


def losses(*changes: dict[str, object]) -> StructureLosses:
    return StructureLosses([SegmentationConsistencyConfig.model_validate(values) for values in changes])


def test_co_trained_losses_share_one_copy_that_learns_and_frozen_ones_have_their_own():
    segmenter = Lines()
    made = losses({"segmenter": "co_trained"}, {}, {"segmenter": "co_trained"})
    learning = made.use_segmenter(segmenter, ("line",))
    first, frozen, third = (loss.__dict__["_segmenter"] for loss in made)
    assert first is third is learning
    assert learning is not segmenter
    assert learning.gain.requires_grad
    assert not frozen.gain.requires_grad
    assert made.state_dict() == {}


def test_a_frozen_segmenter_can_be_the_start_of_one_that_learns():
    segmenter = Lines().requires_grad_(False)
    learning = losses({"segmenter": "co_trained"}).use_segmenter(segmenter)
    assert learning.gain.requires_grad
    assert not segmenter.gain.requires_grad
    assert losses({}).use_segmenter(segmenter) is None


def test_a_cut_thin_structure_costs_its_cl_dice_on_top():
    plain, thin = losses({}), losses({"thin": {"line": 1}, "thin_weight": 0.5})
    for made in (plain, thin):
        made.use_segmenter(Lines(), ("line",))
    (without,), (with_thin,) = (made.terms({"source": pair(cut=3)}, 0).values() for made in (plain, thin))
    # skeletons are the lines: precision 1, sensitivity (6 + 1) / (9 + 1)
    assert_close((with_thin - without).item(), 0.5 * (1 - 2 * 0.7 / 1.7), rtol=0, atol=1e-3)
    (whole,) = thin.terms({"source": pair(cut=0)}, 0).values()
    assert whole.item() < 1e-3


def test_thin_structures_need_names_that_are_there():
    made = losses({"thin": {"rib": 3}})
    with pytest.raises(ConfigError, match="'rib'; expected structures of the masks: line"):
        made.use_segmenter(Lines(), ("line",))
    with pytest.raises(ConfigError, match="unknown here"):
        made.use_segmenter(Lines())
