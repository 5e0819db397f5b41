"""What every entry of the union keeps: zero for equal images, rising with displacement, valid pixels only."""

from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.adapters import Batch
from medi2i.config import Config, validate_config
from medi2i.errors import ConfigError, MaskMismatchError, UsageError
from medi2i.losses import (
    AttenuationConfig,
    EdgeConfig,
    GradientCorrelationConfig,
    LNCCConfig,
    LSeSimConfig,
    MINDConfig,
    MSSSIMConfig,
    MutualInformationConfig,
    NGFConfig,
    PatchNCEConfig,
    SegmentationConsistencyConfig,
    SSIMConfig,
    StructureLossConfig,
    StructureLosses,
    TranslationPair,
    require_possible,
)
from medi2i.losses.base import StructureLossSettings
from tests.adapters.transparent import all_losses, batch, image, transparent
from tests.similarity.pairs import anatomy, half_valid, warped

# small windows: the images are small
SETTINGS: tuple[StructureLossSettings, ...] = (
    AttenuationConfig(blur_px=7),
    EdgeConfig(),
    GradientCorrelationConfig(),
    LNCCConfig(),
    LSeSimConfig(scales=2, reach_px=4),
    MINDConfig(),
    MSSSIMConfig(scales=2),
    MutualInformationConfig(bins=16),
    NGFConfig(),
    PatchNCEConfig(),
    SSIMConfig(),
)
each_loss = pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.name)


def cost(settings: StructureLossSettings, x: Tensor, y: Tensor, valid: Tensor | None = None) -> float:
    return settings.build()(TranslationPair(x, y, None, valid)).item()


def test_every_loss_of_the_union_that_needs_no_segmenter_is_tested_here():
    union = set(get_args(get_args(StructureLossConfig)[0]))
    assert union == {type(settings) for settings in SETTINGS} | {SegmentationConsistencyConfig}


@each_loss
def test_it_is_zero_for_equal_images_and_rises_with_displacement(settings: StructureLossSettings):
    x, amplitudes = anatomy(96, count=2), (1, 2, 4)
    if settings.name == "attenuation":  # looks at coarse brightness, so the image is coarse
        x, amplitudes = nn.functional.interpolate(anatomy(32, count=2), scale_factor=4.0), (4, 8, 16)
    costs = [cost(settings, x, warped(x, amplitude)) for amplitude in (0, *amplitudes)]
    assert_close(costs[0], 0.0, rtol=0, atol=1e-5)
    assert costs[1] > 0.01
    assert all(after > 1.15 * before for before, after in pairwise(costs[1:])), costs


# cost of an inversion; of a steep rising change of tone, relative to a warp of 2 px
TONES: dict[str, tuple[float, float]] = {
    "attenuation": (0.1, 0.1),
    "edge": (0, 1),
    "gradient_correlation": (1.99, 0.5),
    "lncc": (1.8, 0.25),
    "lsesim": (0, 0.25),
    "mind": (0, 0.5),
    "mutual_information": (0, 0.5),
    "ngf": (0, 0.4),
    "patch_nce": (0, 0.1),
}


@each_loss
def test_what_an_inversion_and_a_change_of_tone_cost(settings: StructureLossSettings):
    x = anatomy(96)
    risen = (1 + x) ** 1.6 - 1
    inversion, tone, displacement = (cost(settings, x, y) for y in (-x, risen, warped(x, 2)))
    if settings.name in {"ssim", "ms_ssim"}:  # of all losses, these two compare gray levels
        assert inversion > 0.9
        assert tone > 0.02
        return
    expected, share = TONES[settings.name]
    if expected == 0:
        assert abs(inversion) < 1e-4
    else:
        assert inversion > expected
    assert tone < share * displacement


@each_loss
def test_an_image_without_structure_costs_much(settings: StructureLossSettings):
    x = anatomy(96)
    wiped = cost(settings, x, torch.zeros_like(x))
    assert wiped > (0.02 if settings.name == "attenuation" else cost(settings, x, warped(x, 2)))


@each_loss
def test_invalid_pixels_reach_neither_value_nor_gradient(settings: StructureLossSettings):
    x, y = anatomy(64), warped(anatomy(64), 2)
    valid = half_valid(x)
    broken = torch.where(valid > 0, y, torch.full_like(y, 0.9)).requires_grad_()
    loss = settings.build()(TranslationPair(torch.where(valid > 0, x, -x), broken, None, valid))
    assert_close(loss.item(), cost(settings, x, y, valid), rtol=1e-5, atol=1e-7)
    loss.backward()
    assert_close(broken.grad[..., 32:], torch.zeros(1, 1, 64, 32, dtype=torch.float64))
    assert broken.grad[..., 20:28, 20:28].abs().max() > 0


@each_loss
def test_without_a_valid_pixel_it_is_finite_and_has_no_gradient(settings: StructureLossSettings):
    x, y = anatomy(64), warped(anatomy(64), 2).requires_grad_()
    loss = settings.build()(TranslationPair(x, y, None, torch.zeros_like(x)))
    loss.backward()
    assert torch.isfinite(loss)
    assert_close(y.grad, torch.zeros_like(x))


@each_loss
def test_constant_images_have_finite_gradients(settings: StructureLossSettings):
    y = torch.full((1, 1, 64, 64), 0.3, requires_grad=True)
    settings.build()(TranslationPair(anatomy(64).float(), y)).backward()
    assert torch.isfinite(y.grad).all()
    y = torch.full((1, 1, 64, 64), 0.3, requires_grad=True)
    flat = settings.build()(TranslationPair(torch.full_like(y, 0.3), y))
    flat.backward()
    if settings.name != "gradient_correlation":  # undefined there: 1 by definition
        assert_close(flat.item(), 0.0, rtol=0, atol=1e-4)
    assert torch.isfinite(y.grad).all()


@each_loss
def test_damage_in_a_structure_costs_more_with_mask_weight(settings: StructureLossSettings):
    x, moved = anatomy(64), warped(anatomy(64), 3)
    mask = torch.zeros_like(x)
    mask[..., 16:48, 16:48] = 1
    pair = TranslationPair(x, torch.where(mask > 0, moved, x), mask)
    weighted = settings.model_copy(update={"mask_weight": 4.0})
    assert weighted.wants_masks
    assert not settings.wants_masks
    assert weighted.build()(pair) > 1.1 * settings.build()(pair)


@each_loss
def test_autocast_changes_nothing(settings: StructureLossSettings):
    x, y = anatomy(64).float(), warped(anatomy(64), 2).float()
    loss = settings.build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(TranslationPair(x, y, None, half_valid(x)))
    assert inside.dtype == torch.float32
    assert_close(inside, loss(TranslationPair(x, y, None, half_valid(x))), rtol=0, atol=0)


@each_loss
def test_a_batch_is_the_mean_of_its_images(settings: StructureLossSettings):
    x = anatomy(64, count=2)
    y = warped(x, 2)
    apart = [cost(settings, x[i : i + 1], y[i : i + 1]) for i in range(2)]
    assert_close(cost(settings, x, y), sum(apart) / 2, rtol=1e-5, atol=1e-7)


def test_the_weight_in_a_step_warms_up_and_makes_up_for_steps_left_out():
    settings = NGFConfig(weight=2, warmup_steps=4)
    assert [settings.weight_at(step) for step in range(6)] == [0.5, 1, 1.5, 2, 2, 2]
    settings = NGFConfig(weight=2, every=3)
    assert [settings.weight_at(step) for step in range(6)] == [0, 0, 6, 0, 0, 6]
    assert NGFConfig(weight=0).weight_at(0) == 0


def test_terms_are_named_weighted_and_left_out_when_not_due():
    x = anatomy(64)
    pairs = {"source": TranslationPair(x, warped(x, 2)), "target": TranslationPair(x, x)}
    both = StructureLosses([NGFConfig(weight=3, warmup_steps=2), EdgeConfig(every=2), MINDConfig(weight=0)])
    first = both.terms(pairs, 0)
    assert list(first) == ["ngf_0_source", "ngf_0_target"]
    assert_close(first["ngf_0_source"], 1.5 * NGFConfig().build()(pairs["source"]))
    second = both.terms(pairs, 1)
    assert list(second) == ["ngf_0_source", "ngf_0_target", "edge_1_source", "edge_1_target"]
    assert_close(second["ngf_0_source"], 2 * first["ngf_0_source"])
    assert_close(second["edge_1_source"], 2 * EdgeConfig().build()(pairs["source"]))
    assert StructureLosses().terms(pairs, 0) == {}
    assert not both.state_dict()


def test_cyclegan_takes_any_of_them_on_both_sides_and_knows_the_step():
    losses = [{"name": settings.name} for settings in SETTINGS if settings.name != "lsesim"]
    losses += [
        {"name": "lsesim", "scales": 1, "reach_px": 4},
        {"name": "ngf", "weight": 2, "warmup_steps": 4},
    ]
    adapter = transparent(structure_losses=losses)
    one = batch(image(0, size=48), image(1, size=48))
    found = all_losses(adapter, one)
    names = {
        f"{loss['name']}_{index}_{side}" for index, loss in enumerate(losses) for side in ("source", "target")
    }
    assert {f"generators/{name}" for name in names} <= found.keys()
    warm = all_losses(adapter, Batch(**(vars(one) | {"step": 3})))
    assert_close(warm["generators/ngf_11_source"], 4 * found["generators/ngf_11_source"])
    assert_close(warm["generators/ngf_7_source"], found["generators/ngf_7_source"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "attenuation", "blur_px": 12}, "12 is even"),
        ({"name": "lsesim", "reach_px": 5}, "multiple of 2"),
        ({"name": "ngf", "warmup": 5}, "did you mean 'warmup_steps'"),
        ({"name": "lncc", "every": 0}, "greater than or equal to 1"),
        ({"name": "ms_ssim", "scales": 6}, "less than or equal to 5"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(entry: dict[str, Any], message: str):
    class Losses(Config):
        structure_losses: tuple[StructureLossConfig, ...] = ()

    with pytest.raises(ConfigError, match=message):
        validate_config({"structure_losses": [entry]}, Losses, "test")


def test_losses_that_need_what_is_not_there_are_refused_before_training():
    settings = [NGFConfig(mask_weight=2), SegmentationConsistencyConfig()]
    require_possible(settings, has_masks=True, has_segmenter=True)
    require_possible(settings[:1], has_masks=False, has_segmenter=False)
    with pytest.raises(
        ConfigError, match=r"structure_losses\.1.*without masks of the source images and a seg"
    ):
        require_possible(settings, has_masks=False, has_segmenter=False)
    with pytest.raises(ConfigError, match="without a segmenter"):
        require_possible(settings, has_masks=True, has_segmenter=False)
    require_possible([SegmentationConsistencyConfig(weight=0)], has_masks=False, has_segmenter=False)


class Threshold(nn.Module):
    """A segmenter of bright and dark: logits 40 x and -40 x, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(40.0))
        self.norm = nn.BatchNorm2d(1)

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([self.gain * image, -self.gain * image], dim=1)


def segmented(**changes: Any) -> StructureLosses:
    losses = StructureLosses([SegmentationConsistencyConfig(**changes), NGFConfig(weight=0)])
    losses.use_segmenter(Threshold())
    return losses


def half_bright(bright: int, size: int = 8) -> Tensor:
    image = torch.full((1, 1, size, size), -1.0)
    image[..., :bright] = 1
    return image


def test_segmentation_consistency_is_hand_computed():
    x, y = half_bright(4), half_bright(2)
    mask = torch.cat([x > 0, x < 0], dim=1)
    right = segmented(dice_share=1).terms({"source": TranslationPair(x, x, mask)}, 0)
    assert_close(right["segmentation_consistency_0_source"].item(), 0.0, rtol=0, atol=1e-6)
    # bright: 2 * 16 / (16 + 32); dark: 2 * 32 / (48 + 32); mean of the lost: (1/3 + 1/5) / 2
    dice = segmented(dice_share=1).terms({"source": TranslationPair(x, y, mask)}, 0)
    assert_close(dice["segmentation_consistency_0_source"].item(), (1 / 3 + 1 / 5) / 2, rtol=0, atol=1e-6)
    # a quarter of the pixels is wrong in both planes, by a logit of 40
    entropy = segmented(dice_share=0).terms({"source": TranslationPair(x, y, mask)}, 0)
    assert_close(entropy["segmentation_consistency_0_source"].item(), 10.0, rtol=0, atol=1e-4)
    # wrong pixels that are invalid cost nothing
    valid = torch.ones_like(x)
    valid[..., 2:4] = 0
    pair = TranslationPair(x, y, mask, valid)
    assert segmented().terms({"source": pair}, 0)["segmentation_consistency_0_source"].item() < 1e-6


def test_dice_counts_only_structures_that_are_there():
    x = half_bright(0)
    mask = torch.cat([x > 0, x < 0], dim=1)  # nothing is bright
    loss = segmented(dice_share=1).terms({"source": TranslationPair(x, half_bright(4), mask)}, 0)
    assert_close(loss["segmentation_consistency_0_source"].item(), 1 / 3, rtol=0, atol=1e-6)


def test_images_without_masks_are_left_out_or_labelled_by_the_segmenter():
    pairs = {"target": TranslationPair(half_bright(4), half_bright(2))}
    assert segmented().terms(pairs, 0) == {}
    own = segmented(own_labels=True, dice_share=1).terms(pairs, 0)["segmentation_consistency_0_target"]
    assert_close(own.item(), (1 / 3 + 1 / 5) / 2, rtol=0, atol=1e-6)


def test_the_segmenter_is_a_frozen_copy_that_no_checkpoint_holds():
    segmenter = Threshold()
    losses = StructureLosses([SegmentationConsistencyConfig(own_labels=True)])
    losses.use_segmenter(segmenter)
    assert list(losses.parameters()) == []
    assert losses.state_dict() == {}
    assert segmenter.training
    assert segmenter.gain.requires_grad
    y = (0.05 * half_bright(2)).requires_grad_()
    x = (0.05 * half_bright(4)).requires_grad_()
    losses.terms({"target": TranslationPair(x, y)}, 0)["segmentation_consistency_0_target"].backward()
    assert segmenter.gain.grad is None
    assert x.grad is None
    assert y.grad.abs().min() > 0


def test_a_missing_or_other_segmenter_is_refused():
    x = half_bright(4)
    loss = SegmentationConsistencyConfig().build()
    with pytest.raises(UsageError, match="no segmenter"):
        loss(TranslationPair(x, x, x > 0))
    loss.use_segmenter(Threshold())
    with pytest.raises(MaskMismatchError, match="a segmenter of 2 structures; expected 1"):
        loss(TranslationPair(x, x, x > 0))
    with pytest.raises(UsageError, match="images without masks"):
        loss(TranslationPair(x, x))
