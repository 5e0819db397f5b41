import math

import torch
from torch.testing import assert_close

from medi2i.losses.segmentation import overlap_loss, thin_loss

SURE = 40.0


def bars(*columns: tuple[int, int]) -> torch.Tensor:
    """(1, K, 9, 9) masks of vertical bars, first to last column."""
    masks = torch.zeros(1, len(columns), 9, 9)
    for plane, (first, last) in enumerate(columns):
        masks[0, plane, :, first : last + 1] = 1
    return masks


def sure_of(masks: torch.Tensor) -> torch.Tensor:
    return SURE * (2 * masks - 1)


def test_an_unsure_answer_costs_ln_2_and_the_dice_of_a_half():
    masks = bars((0, 2))
    logits = torch.zeros_like(masks)
    assert_close(overlap_loss(logits, masks, dice_share=0).item(), math.log(2))
    # 2 * 27 / 2 over 81 / 2 + 27
    assert_close(overlap_loss(logits, masks, dice_share=1).item(), 1 - 27 / 67.5)
    assert_close(overlap_loss(logits, masks, dice_share=0.25).item(), 0.75 * math.log(2) + 0.25 * 0.6)


def test_overlapping_structures_are_both_found_for_nothing():
    masks = bars((0, 4), (3, 6))
    assert overlap_loss(sure_of(masks), masks, dice_share=0.5).item() < 1e-6


def test_only_pixels_that_weigh_count():
    masks, wrong = bars((0, 2)), bars((0, 5))
    weight = torch.ones(1, 1, 9, 9)
    weight[..., 3:6] = 0
    assert overlap_loss(sure_of(wrong), masks, dice_share=0.5).item() > 0.1
    assert overlap_loss(sure_of(wrong), masks, weight, dice_share=0.5).item() < 1e-6
    assert thin_loss(sure_of(wrong), masks, {0: 2}, weight).item() < 1e-3


def test_a_gap_in_a_thin_structure_costs_more_cl_dice_than_a_missing_rim():
    masks = bars((3, 5))
    thinner, broken = bars((4, 4)), bars((3, 5))
    broken[:, :, 3:6] = 0  # 9 of 27 pixels; the thinner one lacks 18
    cost = {
        name: thin_loss(sure_of(m), masks, {0: 2}).item() for name, m in (("thin", thinner), ("gap", broken))
    }
    assert cost["thin"] < 0.5 * cost["gap"]
    dice = {
        name: overlap_loss(sure_of(m), masks, dice_share=1).item()
        for name, m in (("t", thinner), ("g", broken))
    }
    assert dice["t"] > dice["g"]


def test_cl_dice_of_lines_is_hand_computed():
    # lines of one pixel are their own skeletons: precision (6 + 1) / (6 + 1), sensitivity (6 + 1) / (9 + 1)
    masks = bars((4, 4))
    found = masks.clone()
    found[..., 6:, :] = 0
    assert_close(thin_loss(sure_of(found), masks, {0: 1}).item(), 1 - 2 * 0.7 / 1.7, rtol=0, atol=1e-3)


def test_only_the_planes_that_are_named_are_thin():
    masks = bars((4, 4), (0, 8))
    found = masks.clone()
    found[:, 1] = 0
    assert thin_loss(sure_of(found), masks, {0: 1}).item() < 1e-3
    assert thin_loss(sure_of(found), masks, {}).item() == 0
