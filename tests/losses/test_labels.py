import math

import torch
from torch.testing import assert_close

from medi2i.losses.labels import fill_unknown, label_distance

GROUPS = (slice(0, 2), slice(2, 5))
# e^logit: domain 1 to 3; view 1 to 2 to 1
LOGITS = torch.tensor([0.0, math.log(3), 0.0, math.log(2), 0.0])


def test_the_loss_of_each_group_is_minus_the_log_of_the_true_values_share():
    code = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]])
    # the critic gives the source 1/4 and the second view 2/4
    assert_close(label_distance(LOGITS[None], code, GROUPS).item(), math.log(4) + math.log(2))


def test_an_unknown_group_is_left_out_and_the_mean_is_over_those_that_know_it():
    unknown = [-1.0] * 3
    code = torch.tensor([[1.0, 0.0, *unknown], [0.0, 1.0, *unknown], [0.0, 1.0, 0.0, 1.0, 0.0]])
    domain = (math.log(4) + 2 * math.log(4 / 3)) / 3
    logits = LOGITS.expand(3, 5)
    assert_close(label_distance(logits, code, GROUPS).item(), domain + math.log(2))
    assert_close(label_distance(logits[:2], code[:2], GROUPS).item(), (math.log(4) + math.log(4 / 3)) / 2)


def test_the_binary_form_is_the_papers_sum_over_attributes_divided_by_the_batch():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, generator=rng, dtype=torch.float64)
    code = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 1, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 1.0]]).double()
    paper = -(code * torch.log(logits.sigmoid()) + (1 - code) * torch.log(1 - logits.sigmoid())).sum() / 4
    assert_close(label_distance(logits, code, GROUPS, "binary"), paper)


def test_unknown_bits_get_no_gradient_and_known_ones_do():
    logits = LOGITS.repeat(2, 1).requires_grad_(True)
    code = torch.tensor([[1.0, 0.0, -1.0, -1.0, -1.0], [0.0, 1.0, 0.0, 0.0, 1.0]])
    label_distance(logits, code, GROUPS).backward()
    assert logits.grad is not None
    assert not logits.grad[0, 2:].any()
    assert logits.grad[0, :2].all()
    assert logits.grad[1].all()
    nobody = torch.full((2, 5), -1.0)
    assert label_distance(logits, nobody, GROUPS).item() == 0


def test_half_precision_logits_lose_nothing_more():
    code = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]])
    half = label_distance(LOGITS[None].bfloat16(), code, GROUPS)
    assert half.dtype == torch.float32
    assert_close(half, label_distance(LOGITS[None].bfloat16().float(), code, GROUPS))


def test_unknown_groups_are_filled_with_probabilities_and_known_ones_stay():
    code = torch.tensor([[1.0, 0.0, -1.0, -1.0, -1.0], [-1.0, -1.0, 0.0, 0.0, 1.0]])
    filled = fill_unknown(code, LOGITS.expand(2, 5), GROUPS)
    assert_close(filled, torch.tensor([[1, 0, 0.25, 0.5, 0.25], [0.25, 0.75, 0, 0, 1]]))
    binary = fill_unknown(code, LOGITS.expand(2, 5), GROUPS, "binary")
    assert_close(binary[0, 2:], torch.tensor([1 / 2, 2 / 3, 1 / 2]))
    assert code[0, 2] == -1
