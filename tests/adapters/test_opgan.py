"""OP-GAN: pairs of cells, its losses by hand, a whole step, and what becomes of the content maps."""

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.adapters import Batch, DomainAdapter, OPGANConfig, Shared
from medi2i.adapters.opgan import OPGAN, name_classes
from medi2i.adapters.opgan_cells import (
    C1,
    C2,
    D1,
    D2,
    Grid,
    content_distance,
    draw_pairs,
    pair_table,
    place_grid,
    separation,
    spatial_spread,
    standardise,
)
from medi2i.errors import CollapsedTrainingError, InterruptedRunError, UsageError
from medi2i.networks.siamese import SiameseReading
from medi2i.training.checkpoint import load_checkpoint
from medi2i.training.engine import frozen, make_accelerator
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper
from tests.adapters.transparent import TINY, Fold, GrayLevel, Scale
from tests.training.toys import run_training, stored_bytes

SMALL: dict[str, Any] = TINY | {"siamese": {"width": 2, "blocks": 1}, "pool_size": 2}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def opgan(**changes: Any) -> OPGAN:
    return OPGANConfig.model_validate(SMALL | changes).build(seed=0)


def noise(seed: int, count: int = 2, side: int = 30) -> Tensor:
    return 2 * torch.rand(count, 1, side, side, generator=seeded(seed)) - 1


def batch(source: Tensor, target: Tensor, valid: Tensor | None = None, *, step: int = 0) -> Batch:
    everywhere = torch.ones_like(source)
    valid = everywhere if valid is None else valid
    return Batch(source, target, valid, everywhere, seeded(step), seeded(step), step=step)


def test_cells_are_cut_row_by_row_around_a_centred_grid():
    image = torch.arange(29.0 * 31).view(1, 1, 29, 31)
    grid = place_grid((29, 31), 3, 0.0, seeded(0))
    assert grid == Grid(3, (9, 10), (1, 0))
    cells = grid.cut(image)
    assert cells.shape == (1, 9, 1, 9, 10)
    for row in range(3):
        for column in range(3):
            expected = image[0, 0, 1 + 9 * row : 10 + 9 * row, 10 * column : 10 * column + 10]
            assert torch.equal(cells[0, 3 * row + column, 0], expected)


def test_a_jittered_grid_moves_from_draw_to_draw_and_stays_inside():
    grids = [place_grid((60, 60), 3, 0.2, seeded(seed)) for seed in range(60)]
    assert {grid.cell_px for grid in grids} == {(16, 16)}  # floor(60 * 0.8) / 3
    offsets = torch.tensor([grid.offset_px for grid in grids])
    assert offsets.min() == 0
    assert offsets.max() == 60 - 3 * 16
    assert not torch.equal(offsets[:, 0], offsets[:, 1])


def test_cells_too_small_for_the_network_are_refused():
    with pytest.raises(UsageError, match=r"26 x 40 px, so cells of 8 x 13; expected cells of 9 px"):
        place_grid((26, 40), 3, 0.0, seeded(0))


def test_a_pool_of_eighteen_has_153_pairs_of_four_cases():
    pairs, cases = pair_table(9)
    assert len({tuple(pair) for pair in pairs.tolist()}) == 153
    assert Counter(cases.tolist()) == {D1: 36, D2: 36, C1: 9, C2: 72}
    for (first, second), case in zip(pairs.tolist(), cases.tolist(), strict=True):
        sides = (first >= 9, second >= 9)
        by_hand = {(False, False): D1, (True, True): D2}.get(sides, C1 if first % 9 == second % 9 else C2)
        assert case == by_hand


def test_uniform_draws_meet_the_cases_as_often_as_the_pool_holds_them():
    count = 20_000
    drawn = draw_pairs(torch.ones(count, 9, dtype=torch.bool), "uniform", seeded(0))
    assert drawn.pairs.shape == (count, 1, 2)
    assert drawn.counted.all()
    shares = torch.bincount(drawn.cases.flatten(), minlength=4) / count
    expected = torch.tensor([36, 36, 9, 72]) / 153  # 23.5, 23.5, 5.9 and 47.1 %
    # four standard deviations of a share near 0.47 in 20,000 draws
    assert_close(shares, expected, rtol=0, atol=4 * (0.25 / count) ** 0.5)
    places = torch.bincount(drawn.pairs.flatten(), minlength=18) / (2 * count)
    assert_close(places, torch.full((18,), 1 / 18), rtol=0, atol=0.006)


def test_stratified_draws_hold_one_pair_of_each_case_for_each_image():
    drawn = draw_pairs(torch.ones(2_000, 9, dtype=torch.bool), "stratified", seeded(0))
    assert torch.equal(drawn.cases, torch.tensor([[D1, D2, C1, C2]]).expand(2_000, 4))
    first, second = drawn.pairs.unbind(2)
    assert (first[:, C1] + 9 == second[:, C1]).all()
    assert (first[:, C2] % 9 != second[:, C2] % 9).all()
    assert (second[:, D1] < 9).all()
    assert (first[:, D2] >= 9).all()
    cells = torch.bincount(first[:, C1], minlength=9) / 2_000
    assert_close(cells, torch.full((9,), 1 / 9), rtol=0, atol=0.03)


@pytest.mark.parametrize("sampling", ["stratified", "uniform"])
def test_cells_that_do_not_count_are_in_no_pair_that_does(sampling: Any):
    usable = torch.ones(300, 9, dtype=torch.bool)
    usable[:, [0, 4]] = False
    usable[100:200] = False
    usable[200:, 1:] = False
    usable[200:, 0] = True  # one cell: it pairs with itself in the translation only
    drawn = draw_pairs(usable, sampling, seeded(0))
    some, none, one = drawn.counted.split(100)
    assert some.all()
    assert not torch.isin(drawn.pairs[:100] % 9, torch.tensor([0, 4])).any()
    assert not none.any()
    assert (drawn.cases[200:][one] == C1).all()
    assert one.any(dim=1).all()


def test_classes_by_domain_swap_with_the_direction_and_by_role_do_not():
    cases = torch.tensor([[D1, D2, C1, C2], [D1, D2, C1, C2]])  # source to target, then target to source
    # two of the source, two that look like the target; then two of the target, two that look like the source
    assert name_classes(cases, "domain").tolist() == [[0, 1, 2, 2], [1, 0, 2, 2]]
    assert name_classes(cases, "role").tolist() == [[0, 1, 2, 2], [0, 1, 2, 2]]


def test_content_distance_is_the_mean_square_over_valid_pixels_of_pairs_with_weight():
    first = torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    second = torch.zeros(3, 1, 2, 2)
    valid = torch.ones(3, 1, 2, 2)
    valid[1, 0, 0] = 0
    value = content_distance(first, second, valid, torch.tensor([1.0, 1.0, 0.0]))
    assert_close(value.item(), (4 * 1.0 + 2 * 4.0) / 6)
    assert content_distance(first, second, valid, torch.zeros(3)) == 0


def test_the_hinge_asks_only_pairs_that_are_too_alike():
    first = torch.tensor([0.5, 1.0, 3.0, 0.0]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    valid = torch.ones(4, 1, 2, 2)
    valid[3] = 0  # nothing in common: nothing to say
    value = separation(first, torch.zeros_like(first), valid, torch.ones(4), 2.0)
    assert_close(value.item(), ((2 - 0.25) + (2 - 1.0) + 0.0) / 3)


def test_spread_and_standard_maps_are_those_of_valid_pixels():
    maps = torch.tensor([[1.0, 3.0], [5.0, 99.0]]).view(1, 1, 2, 2)
    valid = torch.tensor([[1.0, 1.0], [1.0, 0.0]]).view(1, 1, 2, 2)
    spread = (8 / 3) ** 0.5  # of 1, 3, 5
    assert_close(spatial_spread(maps, valid).item(), spread)
    standard = standardise(maps, valid)[0, 0]
    assert_close(standard.flatten()[:3], torch.tensor([-2.0, 0.0, 2.0]) / spread)
    assert torch.equal(standardise(torch.ones(1, 1, 2, 2), valid), torch.zeros(1, 1, 2, 2))


def test_a_constant_map_has_finite_slopes():
    maps = torch.full((1, 1, 3, 3), 0.5, requires_grad=True)
    valid = torch.ones(1, 1, 3, 3)
    (spatial_spread(maps, valid).sum() + standardise(maps, valid).square().sum()).backward()
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


class Plain(nn.Module):
    """Maps are the patches; the logits are the means of both patches, and 0."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, first: Tensor, second: Tensor) -> SiameseReading:
        self.seen.append((first, second))
        means = [self.gain * patch.mean(dim=(1, 2, 3)) for patch in (first, second)]
        logits = torch.stack([*means, torch.zeros_like(means[0])], dim=1)
        return SiameseReading(self.gain * first, self.gain * second, logits)


def plain(**changes: Any) -> OPGAN:
    adapter = opgan(**changes)
    adapter.source_to_target, adapter.target_to_source = Scale(0.6), Scale(2.0)
    adapter.target_discriminator, adapter.source_discriminator = GrayLevel(), GrayLevel()
    adapter.siamese = Plain()
    return adapter


def take(adapter: OPGAN, one: Batch) -> dict[str, Tensor]:
    shared = Shared()
    return {
        f"{player.name}/{name}": value.detach()
        for player in adapter.players
        for name, value in adapter.losses(player, one, shared).items()
    }


def level(value: float) -> Tensor:
    return torch.full((2, 1, 30, 30), value)


@pytest.mark.parametrize("classes", ["domain", "role"])
def test_both_terms_of_constant_images_are_hand_computed(classes: str):
    losses = take(
        plain(s_objective="both", classes=classes, content=2.0, domain=3.0), batch(level(0.5), level(-0.25))
    )
    # 0.5 becomes 0.3 and -0.25 becomes -0.5: one C1 pair of each
    content = 2 * (0.2**2 + 0.25**2) / 2

    def entropy(first: float, second: float, label: int) -> float:
        logits = torch.tensor([first, second, 0.0])
        return float(torch.logsumexp(logits, 0) - logits[label])

    swap = classes == "domain"
    forward = [entropy(0.5, 0.5, 0), entropy(0.3, 0.3, 1), 2 * entropy(0.5, 0.3, 2)]
    back = [entropy(-0.25, -0.25, int(swap)), entropy(-0.5, -0.5, int(not swap)), 2 * entropy(-0.25, -0.5, 2)]
    domain = 3 * (sum(forward) + sum(back)) / 8
    for player in ("generators", "siamese"):
        assert_close(losses[f"{player}/content"].item(), content, rtol=0, atol=1e-6)
        assert_close(losses[f"{player}/domain"].item(), domain, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"domain"}),
        ({"s_objective": "both"}, {"domain", "content"}),
        ({"s_objective": "both_guarded"}, {"domain", "content"}),
        ({"s_objective": "both_guarded", "guard": "hinge"}, {"domain", "content", "separation"}),
        ({"content": 0}, {"domain"}),
        ({"s_objective": "both", "domain": 0}, {"content"}),
    ],
)
def test_the_siamese_network_minimises_what_it_is_told(changes: dict[str, Any], expected: set[str]):
    losses = take(plain(**changes), batch(noise(0), noise(1)))
    own = {name.split("/")[1] for name in losses if name.startswith("siamese/")}
    assert own == expected
    generators = {name.split("/")[1] for name in losses if name.startswith("generators/")}
    weights = {"content": changes.get("content", 1), "domain": changes.get("domain", 1)}
    assert generators & {"content", "domain", "separation"} == {name for name, w in weights.items() if w}


def test_a_network_that_would_learn_nothing_is_refused():
    for changes in ({"domain": 0}, {"domain": 0, "content": 0, "s_objective": "both"}):
        with pytest.raises(ValidationError, match="the siamese network learns nothing"):
            OPGANConfig.model_validate(changes)


def test_the_defaults_are_the_papers_and_leave_identity_out():
    config = OPGANConfig()
    assert (config.cycle_source, config.cycle_target, config.content, config.domain) == (10, 10, 1, 1)
    assert (config.identity, config.grid, config.grid_jitter) == (0, 3, 0)
    assert (config.s_objective, config.sampling, config.classes) == ("dc", "stratified", "domain")
    names = [player.name for player in opgan().players]
    assert names == ["generators", "siamese", "discriminators"]


def test_tone_that_a_generator_changes_costs_nothing_on_guarded_maps():
    guarded = take(plain(s_objective="both_guarded"), batch(noise(0), noise(1)))
    literal = take(plain(s_objective="both"), batch(noise(0), noise(1)))
    assert guarded["generators/content"] < 1e-6  # maps of 0.6 x and of x are the same standard map
    assert literal["generators/content"] > 0.01


def test_structure_losses_attach():
    adapter = plain(structure_losses=[{"name": "mind", "weight": 2}])
    losses = take(adapter, batch(noise(0), noise(1)))
    assert {"generators/mind_0_source", "generators/mind_0_target", "generators/content"} <= losses.keys()


def test_what_lies_outside_the_image_changes_no_loss():
    valid = torch.ones(2, 1, 30, 30)
    valid[..., :13] = 0  # the first column of cells, and a part of the second
    source, target = noise(0), noise(1)
    padded = torch.where(valid > 0, source, noise(2))
    for changes in ({"s_objective": "both"}, {"s_objective": "both_guarded", "guard": "hinge"}):
        clean, dirty = (take(plain(**changes), batch(image, target, valid)) for image in (source, padded))
        for name, value in clean.items():
            assert torch.equal(value, dirty[name]), name
    adapter = plain()
    take(adapter, batch(source, target, valid))
    for patches in adapter.siamese.seen[0]:
        assert not (patches == -1).flatten(1).all(dim=1).any()  # no cell of padding was drawn


def test_a_batch_without_a_cell_that_counts_has_no_say():
    adapter = plain(s_objective="both")
    empty = torch.zeros(2, 1, 30, 30)
    one = Batch(noise(0), noise(1), empty, empty, seeded(0), seeded(0))
    shared = Shared()
    adapter.losses(adapter.players[0], one, shared)
    losses = adapter.losses(adapter.players[1], one, shared)
    assert [losses[name].item() for name in ("content", "domain")] == [0, 0]
    assert adapter.readings(adapter.players[0], shared) == {}
    assert adapter.readings(adapter.players[1], shared)["content_spread"].item() == 0
    assert not adapter.local_state()["content_spread"].any()


def test_gradients_reach_every_players_networks_in_its_turn_and_no_others():
    adapter = opgan(s_objective="both")
    one, shared = batch(noise(0, side=32), noise(1, side=32)), Shared()
    for player in adapter.players:
        others = {name for other in adapter.players for name in other.networks} - set(player.networks)
        with frozen([getattr(adapter, name) for name in others]):
            sum(adapter.losses(player, one, shared).values()).backward()
        moved = {n.split(".")[0] for n, p in adapter.named_parameters() if p.grad is not None}
        assert moved == set(player.networks)
        assert all(p.grad is not None for n in player.networks for p in getattr(adapter, n).parameters())
        adapter.zero_grad(set_to_none=True)


def test_a_branch_that_no_term_trains_asks_for_no_gradient():
    def fixed(**changes: Any) -> set[str]:
        parameters = opgan(**changes).siamese.named_parameters()
        return {name.split(".")[0] for name, p in parameters if not p.requires_grad}

    assert fixed() == {"content", "content_head"}
    assert fixed(s_objective="both") == set()
    assert fixed(s_objective="both", content=0) == {"content", "content_head"}
    assert fixed(s_objective="both", domain=0) == {"domain", "domain_head"}


def test_the_siamese_terms_alone_teach_both_generators():
    adapter = opgan(s_objective="dc")
    one, shared = batch(noise(0, side=32), noise(1, side=32)), Shared()
    losses = adapter.losses(adapter.players[0], one, shared)
    for name in ("content", "domain"):
        adapter.zero_grad(set_to_none=True)
        losses[name].backward(retain_graph=True)
        for network in (adapter.source_to_target, adapter.target_to_source):
            assert sum(p.grad.abs().sum() for p in network.parameters() if p.grad is not None) > 0


def test_by_default_the_content_branch_stays_as_it_was_drawn():
    adapter = opgan()
    before = copy.deepcopy(adapter.state_dict())
    stepper = Stepper(
        adapter, TrainingConfig(steps=9), make_accelerator("cpu", "fp32"), seed=1, epoch_length=9
    )
    sample = {"source": noise(0, side=32), "target": noise(1, side=32)}
    stepper.take([sample | {f"{name}_valid": torch.ones_like(image) for name, image in sample.items()}])
    still = {
        ".".join(name.split(".")[:2])
        for name, value in adapter.state_dict().items()
        if name.endswith("weight") and torch.equal(value, before[name])
    }
    assert still == {"siamese.content", "siamese.content_head"}


def transcribed_pairs(image: Tensor, translation: Tensor, generator: torch.Generator) -> list[Any]:
    """The four pairs of each image as `draw_pairs` draws them, cut by hand: 10 px each, from pixel 1 on."""
    drawn = draw_pairs(torch.ones(len(image), 9, dtype=torch.bool), "stratified", generator)
    found = []
    for number in range(len(image)):
        for (first, second), case in zip(drawn.pairs[number].tolist(), drawn.cases[number], strict=True):
            patches = []
            for place in (first, second):
                top, left = (1 + 10 * at for at in divmod(place % 9, 3))
                whole = translation[number] if place >= 9 else image[number]
                patches.append(whole[:, top : top + 10, left : left + 10])
            found.append((*patches, int(case)))
    return found


def transcribed_siamese_terms(s: nn.Module, pairs: list[Any], forward: int) -> tuple[Tensor, Tensor]:
    """L_cc over C1 pairs and L_dc over all, pair by pair; the first `forward` go source to target."""
    content, domain = [], []
    for number, (first, second, case) in enumerate(pairs):
        one, other, logits = s(first[None], second[None])
        if case == C1:
            content.append(((one - other) ** 2).mean())
        label = 2 if case in (C1, C2) else (case == D2) ^ (number >= forward)
        domain.append(-torch.log_softmax(logits[0], 0)[int(label)])
    return torch.stack(content).mean(), torch.stack(domain).mean()


def published_step(a: OPGAN, source: Tensor, target: Tensor, device: torch.Generator) -> dict[str, Tensor]:
    """min G: adv + 10 cyc + L_S; then min S: L_S; then min D, on copies of the adapter's networks."""
    settings: dict[str, Any] = {"lr": 2e-4, "betas": (0.5, 0.999)}
    g = [*a.source_to_target.parameters(), *a.target_to_source.parameters()]
    d = [*a.target_discriminator.parameters(), *a.source_discriminator.parameters()]
    optimizers = [torch.optim.Adam(p, **settings) for p in (g, list(a.siamese.parameters()), d)]
    translated, back = a.source_to_target(source), a.target_to_source(target)
    both = torch.cat([source, target]), torch.cat([translated, back])
    state = device.get_state()
    pairs = transcribed_pairs(*both, device)
    content, domain = transcribed_siamese_terms(a.siamese, pairs, len(pairs) // 2)
    losses = {
        "generators/adversarial_target": ((a.target_discriminator(translated) - 1) ** 2).mean(),
        "generators/adversarial_source": ((a.source_discriminator(back) - 1) ** 2).mean(),
        "generators/cycle_source": 10 * (a.target_to_source(translated) - source).abs().mean(),
        "generators/cycle_target": 10 * (a.source_to_target(back) - target).abs().mean(),
        "generators/content": content,
        "generators/domain": domain,
    }
    sum(losses.values()).backward()
    optimizers[0].step()
    for optimizer in optimizers:
        optimizer.zero_grad()
    device.set_state(state)
    pairs = transcribed_pairs(both[0], both[1].detach(), device)
    content, domain = transcribed_siamese_terms(a.siamese, pairs, len(pairs) // 2)
    losses |= {"siamese/content": content, "siamese/domain": domain}
    (content + domain).backward()
    optimizers[1].step()
    for name, judge, real, fake in (
        ("target", a.target_discriminator, target, translated),
        ("source", a.source_discriminator, source, back),
    ):
        loss = 0.5 * (((judge(real) - 1) ** 2).mean() + (judge(fake.detach()) ** 2).mean())
        loss.backward()
        losses[f"discriminators/{name}"] = loss
    optimizers[2].step()
    return losses


def test_a_step_equals_its_equations_written_out():
    changes = {"pool_size": 0, "s_objective": "both", "generator": {"width": 2, "blocks": 1}}
    adapter = opgan(**changes).double()
    published = copy.deepcopy(adapter)
    config = TrainingConfig(steps=100, constant=1.0, batch_size=2)
    stepper = Stepper(adapter, config, make_accelerator("cpu", "fp32"), seed=5, epoch_length=9)
    source, target = noise(0, side=32).double(), noise(1, side=32).double()
    sample = {"source": source, "target": target}
    sample |= {f"{name}_valid": torch.ones_like(image) for name, image in sample.items()}
    expected = published_step(published, source, target, stepper.batch(sample, 0).device)
    losses = stepper.take([sample])
    assert losses.keys() == expected.keys()
    assert stepper.readings.keys() == {"siamese/content_spread"}
    for name, value in expected.items():
        assert_close(losses[name], value.detach(), rtol=0, atol=1e-6)
    assert_close(dict(adapter.state_dict()), dict(published.state_dict()), rtol=0, atol=1e-6)


def smooth(seed: int, side: int = 48) -> Tensor:
    coarse = torch.randn(1, 1, side // 6, side // 6, generator=seeded(seed))
    return torch.tanh(nn.functional.interpolate(coarse, size=(side, side), mode="bicubic"))


def spread_kept(steps: int, learning_rate: float, **changes: Any) -> tuple[float, OPGAN]:
    """Spread of the content maps on eight fixed images, over its start, with generators that never learn."""
    adapter = opgan(siamese={"width": 8}, collapse_below=0, **changes)
    adapter.source_to_target = adapter.target_to_source = Fold()
    optimizer = torch.optim.Adam(adapter.siamese.parameters(), lr=learning_rate, betas=(0.5, 0.999))
    patches = torch.cat([smooth(-1 - seed, side=16) for seed in range(8)])

    def spread() -> float:
        with torch.no_grad():
            maps = adapter.siamese(patches, patches).first_map
        return spatial_spread(maps, torch.ones_like(maps)).mean().item()

    start = spread()
    for step in range(steps):
        one, shared = batch(smooth(2 * step), 1.6 * smooth(2 * step + 1).abs() - 1, step=step), Shared()
        with torch.no_grad():
            adapter.losses(adapter.players[0], one, shared)
        optimizer.zero_grad()
        sum(adapter.losses(adapter.players[1], one, shared).values()).backward()
        optimizer.step()
    return spread() / start, adapter


def test_the_literal_objective_flattens_the_content_maps_and_the_default_does_not():
    literal, watched = spread_kept(60, 2e-3, s_objective="both")
    default, _ = spread_kept(60, 2e-3)
    assert literal < 0.4
    assert default > 0.8
    _, start, mean = watched.local_state()["content_spread"].tolist()
    assert mean < 0.5 * start


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "low", "high"), [("both", 0.0, 0.2), ("dc", 0.5, 2.0)])
def test_over_300_steps_the_literal_objective_collapses_and_the_default_keeps_half(
    objective: str, low: float, high: float
):
    kept, _ = spread_kept(300, 1e-3, s_objective=objective)
    assert low <= kept < high


def watched(adapter: OPGAN, spreads: list[float]) -> None:
    for step, value in enumerate(spreads):
        adapter._watch.observe(torch.tensor(value), torch.tensor(True), step=step)


def test_a_collapse_stops_at_the_next_look_and_says_what_to_do():
    adapter = opgan(s_objective="both", collapse_every=30)
    with pytest.raises(CollapsedTrainingError) as raised:
        watched(adapter, [2.0] * 10 + [0.1] * 100)
    # after 20 steps the moving mean is 0.1 + 1.9 * 0.9^20 = 0.331, 17 % of its start
    assert str(raised.value) == (
        "step 30: a standard deviation of the content maps of 0.33, 17% of its start; "
        "expected at least 20%: a constant map keeps no object in place; "
        "start a new run with adapter.s_objective=dc (the default) or both_guarded; "
        "checkpoints that were written before are kept"
    )


def test_a_spread_above_the_threshold_lets_the_training_go_on():
    adapter = opgan(s_objective="both", collapse_every=1)
    watched(adapter, [2.0] * 10 + [0.41] * 200)
    assert_close(adapter.local_state()["content_spread"], torch.tensor([10.0, 2.0, 0.41]), rtol=0, atol=1e-5)
    with pytest.raises(CollapsedTrainingError):
        watched(adapter, [0.38] * 50)
    never = opgan(s_objective="both", collapse_below=0, collapse_every=1)
    watched(never, [2.0] * 10 + [0.0] * 50)


def test_steps_without_a_cell_do_not_count_as_a_collapse():
    adapter = opgan(s_objective="both", collapse_every=1)
    watched(adapter, [2.0] * 10)
    for step in range(100):
        adapter._watch.observe(torch.tensor(0.0), torch.tensor(False), step=step)
    assert adapter.local_state()["content_spread"].tolist() == [10, 2, 2]


def test_the_loop_surfaces_a_collapse_and_keeps_the_checkpoint_before_it(tmp_path: Path):
    adapter = opgan(s_objective="both", collapse_every=4)
    adapter._watch.state = torch.tensor([10.0, 50.0, 50.0])  # as if maps had been far from flat
    config = TrainingConfig(steps=40, validate_every=4, log_every=4)
    with pytest.raises(CollapsedTrainingError, match=r"start a new run with adapter\.s_objective=dc"):
        run_training(adapter, tmp_path, config)
    first = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert first["readings"].keys() == {"siamese/content_spread"}
    assert "siamese/content_spread" not in first["losses"]
    # 50 * 0.9^16 = 9.3 is the first below 10, and the spread of these maps adds less than the rest
    assert load_checkpoint(tmp_path / "checkpoints").step == 12


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path):
    changes = {"grid_jitter": 0.1, "augmentation": {}, "noise_guard": 0.02}
    config = TrainingConfig(steps=4, validate_every=4, preview_every=1, precision="bf16", average=0.9)
    run_training(opgan(**changes), tmp_path / "whole", config)
    folder = tmp_path / "halves"
    stop = StopRequest()

    def stop_after_two(adapter: DomainAdapter, step: int) -> None:
        stop.requested = step == 2

    with pytest.raises(InterruptedRunError):
        run_training(opgan(**changes), folder, config, stop=stop, hooks=Hooks(preview=stop_after_two))
    run_training(opgan(**changes), folder, config)
    assert stored_bytes(folder, 4) == stored_bytes(tmp_path / "whole", 4)


def test_each_direction_translates_with_its_generator():
    adapter = plain()
    assert_close(adapter.translate(level(0.5), direction="source-to-target"), level(0.3))
    assert_close(adapter.translate(level(0.25), direction="target-to-source"), level(0.5))
