import math

import pytest
import torch
from torch import nn

from medi2i.data.settings import FramingConfig
from medi2i.segmentation.mean_teacher import (
    MeanTeacherConfig,
    agreement_loss,
    draw_warp,
    follow,
    warp,
    warp_valid,
)

STILL = {"zoom": 0.0, "aspect": 0.0, "rotation_deg": 0.0}


def theta_of(**framing: object) -> torch.Tensor:
    return draw_warp(FramingConfig.model_validate(STILL | framing), 1, torch.Generator().manual_seed(0))


def test_films_count_from_begin_on_and_wholly_from_full_on():
    config = MeanTeacherConfig(begin=0.4, full=0.8, weight=2.0)
    assert config.ramp(0.39) == 0
    assert config.ramp(0.4) == pytest.approx(2 * math.exp(-5))
    assert config.ramp(0.6) == pytest.approx(2 * math.exp(-1.25))  # t = 1/2
    assert config.ramp(0.8) == 2
    assert MeanTeacherConfig(begin=0.5, full=0.5).ramp(0.5) == 1
    with pytest.raises(ValueError, match="before 'begin'"):
        MeanTeacherConfig(begin=0.5, full=0.4)


def test_the_teacher_follows_the_student_slowly_and_early_on_faster():
    teacher, student = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(teacher.weight, 1.0)
    nn.init.constant_(student.weight, 2.0)
    follow(teacher, student, decay=0.98, step=0)  # keeps 1/10
    assert teacher.weight.item() == pytest.approx(1.9)
    follow(teacher, student, decay=0.98, step=10_000)  # keeps 0.98
    assert teacher.weight.item() == pytest.approx(1.902)
    assert student.weight.item() == 2


def test_a_warp_of_nothing_changes_nothing():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.testing.assert_close(warp(image, theta_of()), image, atol=1e-5, rtol=0)


def test_a_warp_shows_what_lies_further_down_and_nothing_beyond_the_image():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    theta = theta_of(shift_down=(0.25, 0.25))  # a quarter of four rows
    moved = warp(image, theta)
    torch.testing.assert_close(moved[0, 0, :3], image[0, 0, 1:], atol=1e-5, rtol=0)
    assert not moved[0, 0, 3].any()
    assert warp_valid(torch.ones_like(image), theta)[0, 0].sum(dim=1).tolist() == [4, 4, 4, 0]


def test_a_zoom_of_two_shows_the_image_at_half_its_size():
    valid = warp_valid(torch.ones(1, 1, 16, 16), theta_of(zoom=(2.0, 2.0)))
    expected = torch.zeros(1, 1, 16, 16)
    expected[..., 4:12, 4:12] = 1
    torch.testing.assert_close(valid, expected)


def test_a_window_turned_clockwise_shows_the_image_turned_counter_clockwise():
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 16, 28] = 1  # right of the middle
    turned = warp(image, theta_of(rotation_deg=(45.0, 45.0)))[0, 0]
    row, column = divmod(int(turned.argmax()), 33)
    # 12 px at 45 degrees: 8.5 px up, 8.5 px right
    assert abs(row - (16 - 8.5)) <= 1
    assert abs(column - (16 + 8.5)) <= 1


def test_only_what_the_teacher_is_sure_of_counts_and_each_structure_by_itself():
    # one image, two structures, two pixels; sure are: pixel 0 of the first (yes), pixel 1 of the second (no)
    taught = torch.tensor([[[[0.9, 0.5]], [[0.5, 0.1]]]])
    logits = torch.tensor([[[[0.0, 9.0]], [[-9.0, math.log(3)]]]], requires_grad=True)
    weight = torch.ones(1, 1, 1, 2)
    surprise = agreement_loss(logits, taught, weight, sure=0.8, dice_share=0.0)
    # -ln(1/2) and -ln(1 - 3/4)
    assert surprise.item() == pytest.approx((math.log(2) + math.log(4)) / 2, rel=1e-5)
    overlap = agreement_loss(logits, taught, weight, sure=0.8, dice_share=1.0)
    # only the first structure is there: 1 - 2 * 0.5 / (0.5 + 1)
    assert overlap.item() == pytest.approx(1 / 3, rel=1e-5)
    (overlap + surprise).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 0, 1] == 0
    assert logits.grad[0, 1, 0, 0] == 0


def test_a_teacher_that_is_sure_of_nothing_teaches_nothing():
    logits = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    taught = torch.full((1, 2, 4, 4), 0.5)
    assert agreement_loss(logits, taught, torch.ones(1, 1, 4, 4), sure=0.8, dice_share=0.5) == 0
