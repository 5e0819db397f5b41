import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from medi2i.adapters import Batch, Player, Shared
from medi2i.adapters.base import Labelled
from medi2i.adapters.matchgan import MatchGAN, MatchGANConfig
from medi2i.errors import ConfigError, UsageError
from medi2i.losses import TranslationPair
from medi2i.networks.stargan_discriminator import Judgement
from medi2i.training.engine import frozen

SIZE = 16
VIEWS = {"groups": {"view": ("PA", "lateral")}}
TINY: dict[str, Any] = {
    "generator": {"width": 2, "blocks": 1},
    "discriminator": {"width": 2, "layers": 2},
}
UNKNOWN = -torch.ones(8, 2)


def tiny(**changes: Any) -> MatchGAN:
    return MatchGANConfig.model_validate(TINY | changes).build(seed=3).double()


def images(seed: int, count: int = 8) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 1, SIZE, SIZE, generator=rng, dtype=torch.float64) - 1


def unlabelled(count: int = 8, **more: Any) -> Batch:
    """Images of which the domain alone is known."""
    source, target = images(1, count), images(2, count)
    codes = [
        torch.cat([torch.tensor([bits]).expand(8, 2), UNKNOWN], dim=1)[:count]
        for bits in ((1.0, 0.0), (0.0, 1.0))
    ]
    values: dict[str, Any] = {
        "host": torch.Generator().manual_seed(0),
        "source_attributes": codes[0],
        "target_attributes": codes[1],
    }
    return Batch(
        source=source,
        target=target,
        source_valid=torch.ones_like(source),
        target_valid=torch.ones_like(target),
        device=torch.Generator().manual_seed(0),
        **(values | more),
    )


def labelled(adapter: MatchGAN, valid: Tensor | None = None) -> Batch:
    """One group of four of each of the four classes."""
    group = torch.arange(4).repeat_interleave(4)
    code = adapter.classes.float()[group]
    plane = torch.ones(16, 1, SIZE, SIZE).double() if valid is None else valid
    return unlabelled(labelled=Labelled(images(3, 16), plane, code, group))


def domain_only(count: int = 8) -> Batch:
    return unlabelled(count, source_attributes=None, target_attributes=None)


def all_losses(adapter: MatchGAN, one: Batch) -> dict[str, Tensor]:
    shared = Shared()
    return {
        f"{player.name}/{name}": value
        for player in adapter.players
        for name, value in adapter.losses(player, one, shared).items()
    }


Weights = dict[str, nn.Parameter]


class Transcription:
    """Losses of one labelled and one unlabelled iteration, with loops where the adapter has none.

    The networks are the adapter's (StarGAN's test transcribes them); targets, pairs, terms are written anew.
    """

    def __init__(self, adapter: MatchGAN) -> None:
        self.generator = copy.deepcopy(adapter.generator)
        self.critic = copy.deepcopy(adapter.discriminator)
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.5, 0.999))
            for name, network in (("generator", self.generator), ("discriminator", self.critic))
        }

    def match(self, x: list[Tensor], y: list[Tensor], wanted: int) -> Tensor:
        """Mean over pairs of minus the log of the probability of `wanted`: 1 match, 0 no match."""
        terms = []
        for first, second in zip(x, y, strict=True):
            embedded = [self.critic.trunk(one[None]).mean(dim=(2, 3)) for one in (first, second)]
            logits = torch.cat(embedded, dim=1) @ self.critic.match.weight[:, :, 0, 0].T
            terms.append(-F.log_softmax(logits, dim=1)[0, wanted])
        return torch.stack(terms).mean()

    def triplets(self, groups: list[list[Tensor]]) -> Tensor:
        """Groups of four; anchors are the first and the third of each."""
        a, p, n = [], [], []
        for i in range(4):
            following, one_more = groups[(i + 1) % 4], groups[(i + 2) % 4]
            a += [groups[i][2], groups[i][0]]
            p += [groups[i][1], groups[i][1]]
            n += [following[3], one_more[3]]
        return self.match(a, p, 1) + self.match(a, n, 0)

    def classes(self, x: Tensor, code: Tensor) -> Tensor:
        """Cross-entropy of domain and of view; what is unknown is left out."""
        bits = self.critic(x).bits
        total = torch.zeros(()).double()
        for group in (slice(0, 2), slice(2, 4)):
            terms = [
                F.cross_entropy(b[group][None], c[group].argmax()[None])
                for b, c in zip(bits, code, strict=True)
                if c[group.start] >= 0
            ]
            total = total + (torch.stack(terms).mean() if terms else 0)
        return total

    def critic_losses(
        self, x: Tensor, code: Tensor, wanted: Tensor, share: Tensor, known: bool
    ) -> dict[str, Tensor]:
        fake = self.generator(x, wanted).detach()
        between = (share * x + (1 - share) * fake).requires_grad_(True)
        scores = self.critic(between).realness
        (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        losses = {
            "adversarial": self.critic(fake).realness.mean() - self.critic(x).realness.mean(),
            "penalty": 10 * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean(),
            "class": self.classes(x, code),
        }
        if known:
            losses["match"] = 0.5 * self.triplets([list(x[4 * g : 4 * g + 4]) for g in range(4)])
        return losses

    def generator_losses(
        self, x: Tensor, code: Tensor, wanted: Tensor, order: list[list[int]]
    ) -> dict[str, Tensor]:
        fake = self.generator(x, wanted)
        own = code.clone()
        with torch.no_grad():
            read = self.critic(x).bits
        for i in range(len(x)):
            if own[i, 2] < 0:
                own[i, 2:] = read[i, 2:].exp() / read[i, 2:].exp().sum()
        return {
            "adversarial": -self.critic(fake).realness.mean(),
            "class": self.classes(fake, wanted),
            "match": 0.5 * self.triplets([[fake[i] for i in places] for places in order]),
            "reconstruction": 10 * (x - self.generator(fake, own)).abs().mean(),
        }

    def take(self, name: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self.optimizers[name].step()
        return {f"{name}/{key}": value.detach() for key, value in losses.items()}


def take_step(
    adapter: MatchGAN, one: Batch, optimizers: dict[str, torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """What the loop does: critic, then generator, each with the other frozen."""
    shared, found = Shared(), {}
    for player in adapter.players:
        others = [getattr(adapter, name) for name in optimizers if name not in player.networks]
        with frozen(others):
            losses = adapter.losses(player, one, shared)
            torch.stack(list(losses.values())).sum().backward()
        optimizers[player.name].step()
        adapter.zero_grad(set_to_none=True)
        found |= {f"{player.name}/{name}": value.detach() for name, value in losses.items()}
    return found


@pytest.mark.parametrize("known", [True, False])
def test_a_step_equals_an_independent_transcription(known: bool):
    adapter = tiny(attributes=VIEWS, discriminator={"width": 2, "layers": 2, "initialization": "kaiming"})
    published = Transcription(adapter)
    one = labelled(adapter) if known else unlabelled()
    optimizers = {
        name: torch.optim.Adam(getattr(adapter, name).parameters(), lr=1e-4, betas=(0.5, 0.999))
        for name in published.optimizers
    }
    found = take_step(adapter, one, optimizers)

    drawn = torch.Generator().manual_seed(0)
    order = torch.randperm(4, generator=drawn)
    share = torch.rand(16, 1, 1, 1, generator=torch.Generator().manual_seed(0)).double()
    # domain, view: source PA, source lateral, target PA, target lateral
    rows = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]).double()
    wanted = torch.stack([rows[order[place % 4]] for place in range(16)])
    if known:
        x, code = one.labelled.image, torch.stack([rows[place // 4] for place in range(16)])
        places = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]
    else:
        x = torch.cat([one.source, one.target])
        code = torch.tensor([[1, 0, -1, -1]] * 8 + [[0, 1, -1, -1]] * 8).double()
        places = [[0, 8, 4, 12], [1, 9, 5, 13], [2, 10, 6, 14], [3, 11, 7, 15]]
    expected = published.take("discriminator", published.critic_losses(x, code, wanted, share, known))
    expected |= published.take("generator", published.generator_losses(x, code, wanted, places))
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert_close(found[name], value, rtol=0, atol=1e-6, msg=name)
    for ours, theirs in (
        (adapter.generator, published.generator),
        (adapter.discriminator, published.critic),
    ):
        assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()), rtol=0, atol=1e-6)


def gradients(adapter: MatchGAN, player: Player, one: Batch) -> dict[str, bool]:
    """Whether each network, and the match head, gets gradients that aren't 0, nothing being frozen."""
    adapter.zero_grad(set_to_none=True)
    torch.stack(list(adapter.losses(player, one, Shared()).values())).sum().backward()
    return {
        name: all(
            p.grad is not None and bool(p.grad.any())
            for p in getattr(adapter, place).get_submodule(part).parameters()
        )
        for name, place, part in (
            ("generator", "generator", ""),
            ("trunk", "discriminator", "trunk"),
            ("realness", "discriminator", "realness"),
            ("bits", "discriminator", "bits"),
            ("match", "discriminator", "match"),
        )
    }


def test_who_learns_in_which_turn():
    adapter = tiny(attributes=VIEWS)
    critic, generator = adapter.players
    everything = {"trunk": True, "realness": True, "bits": True}
    one = labelled(adapter)
    assert gradients(adapter, critic, one) == {"generator": False, "match": True, **everything}
    # of images with unknown views nobody can say whether they match
    assert gradients(adapter, critic, unlabelled()) == {"generator": False, "match": False, **everything}
    for one in (labelled(adapter), unlabelled()):
        assert gradients(adapter, generator, one)["generator"]


def test_the_papers_choice_for_unlabelled_images_leaves_only_what_it_has():
    paper = {"unlabelled_classification": False, "unlabelled_reconstruction": "none"}
    adapter = tiny(attributes=VIEWS, **paper)
    found = all_losses(adapter, unlabelled())
    assert set(found) == {
        *(f"discriminator/{name}" for name in ("adversarial", "penalty")),
        *(f"generator/{name}" for name in ("adversarial", "class", "match", "reconstruction")),
    }
    assert found["generator/reconstruction"] == 0
    assert found["generator/match"] > 0
    found = all_losses(adapter, labelled(adapter))
    assert {"discriminator/class", "discriminator/match"} <= found.keys()
    assert found["generator/reconstruction"] > 0


class Watched(nn.Module):
    """A generator that gives the image back, and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[Tensor] = []

    def forward(self, image: Tensor, code: Tensor) -> Tensor:
        self.codes.append(code.clone())
        return image


class Comparing(nn.Module):
    """A critic that remembers which pairs it was asked for, and is sure by a factor of 3 that all match."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits, self.pairs, self.seen = bits, [], []

    def forward(self, image: Tensor, valid: Tensor | None = None, pairs: Tensor | None = None) -> Judgement:
        self.seen.append(image.detach())
        match = None
        if pairs is not None:
            self.pairs.append(pairs.tolist())
            match = torch.tensor([[0.0, 1.0986122886681098]]).double().expand(len(pairs), 2)
        return Judgement(image, torch.zeros(len(image), self.bits).double(), match)


def watched(**changes: Any) -> MatchGAN:
    adapter = tiny(**changes)
    adapter.generator, adapter.discriminator = Watched(), Comparing(adapter.attributes.size)
    return adapter


def test_the_match_loss_by_hand():
    # pairs that match cost log 4/3 each, the others log 4; half of the sum of both means
    expected = 0.5 * (torch.tensor(4 / 3).log() + torch.tensor(4.0).log()).item()
    adapter = watched(attributes=VIEWS)
    found = all_losses(adapter, labelled(adapter))
    for player in ("discriminator", "generator"):
        assert_close(found[f"{player}/match"].item(), expected, rtol=0, atol=1e-6)


def test_real_pairs_are_of_the_images_classes_and_translated_ones_of_their_targets():
    adapter = watched(attributes=VIEWS)
    one = labelled(adapter)
    all_losses(adapter, one)
    real, translated = adapter.discriminator.pairs
    targets = adapter.generator.codes[0]
    for pairs, codes in ((real, one.labelled.attributes), (translated, targets)):
        same = [torch.equal(codes[a], codes[b]) for a, b in pairs]
        assert same == [True] * 8 + [False] * 8
    group = one.labelled.group
    assert any(group[a] != group[b] for a, b in translated[:8])  # whatever their source
    assert not any(a == b for a, b in real + translated)


def test_each_class_gets_every_target_and_targets_are_drawn_from_the_classes_that_exist():
    sensible = tuple(
        (d, v) for d in ("source", "target") for v in ("PA", "lateral") if (d, v) != ("source", "PA")
    )
    adapter = watched(attributes=VIEWS | {"sensible": sensible})
    assert (adapter.labelled_groups, adapter.group_images) == (3, 5)
    frequency = dict.fromkeys(sensible, 0)
    for seed in range(6):
        all_losses(adapter, unlabelled(host=torch.Generator().manual_seed(seed)))
        targets = adapter.generator.codes[-2]
        rows = [tuple(adapter.attributes.describe(code).values()) for code in targets]
        assert set(rows[:8]) == set(rows[8:]) == set(sensible)
        frequency = {row: count + rows.count(row) for row, count in frequency.items()}
    assert sum(frequency.values()) == 6 * 16


def test_of_many_classes_four_different_ones_are_drawn_uniformly():
    groups = {"view": ("PA", "AP", "lateral")}
    adapter = watched(attributes={"groups": groups})
    counts = torch.zeros(6)
    for seed in range(60):
        all_losses(
            adapter,
            unlabelled(
                host=torch.Generator().manual_seed(seed),
                source_attributes=adapter.attributes.encode({"domain": "source"}).expand(8, -1),
                target_attributes=adapter.attributes.encode({"domain": "target"}).expand(8, -1),
            ),
        )
        same = (adapter.generator.codes[-2][:4, None] == adapter.classes[None]).all(dim=2)
        assert same.sum(dim=0).max() == 1
        counts += same.sum(dim=0)
    assert counts.sum() == 240
    # 40 expected, a standard deviation of sqrt(60 * 2/3 * 1/3) = 3.7
    assert (counts - 40).abs().max() < 15


def test_with_the_domain_alone_both_domains_batches_are_the_labelled_groups():
    adapter = watched()
    assert adapter.labelled_groups == 0  # it asks for no labelled batches
    found = all_losses(adapter, domain_only())
    assert {"discriminator/match", "discriminator/class", "generator/match"} <= found.keys()
    real, translated = adapter.discriminator.pairs
    assert [(a < 8) == (b < 8) for a, b in real] == [True] * 8 + [False] * 8
    targets = adapter.generator.codes[0]
    assert [torch.equal(targets[a], targets[b]) for a, b in translated] == [True] * 8 + [False] * 8


@pytest.mark.parametrize(
    ("attributes", "groups", "group_images"),
    [
        (VIEWS, 4, 4),
        ({"groups": {"view": ("PA", "AP", "lateral")}}, 4, 4),
        (VIEWS | {"sensible": (("source", "PA"), ("target", "PA"), ("target", "lateral"))}, 3, 5),
        (VIEWS | {"sensible": (("source", "PA"), ("target", "PA"))}, 2, 8),
    ],
)
def test_labelled_batches_have_up_to_four_groups_and_sixteen_images(
    attributes: dict[str, Any], groups: int, group_images: int
):
    adapter = tiny(attributes=attributes)
    assert (adapter.labelled_groups, adapter.group_images) == (groups, group_images)
    assert tiny(attributes=attributes, group_images=6).group_images == 6


def test_structure_losses_on_the_source_leave_labelled_films_out():
    seen: list[dict[str, TranslationPair]] = []
    adapter = tiny(
        attributes=VIEWS, critic_steps=1, structure_losses=[{"name": "ngf"}], structure_losses_on="source"
    )
    of_source, of_target = labelled(adapter), labelled(adapter)
    adapter.structure_losses.terms = lambda pairs, step: seen.append(pairs) or {}
    films = replace(of_target.labelled, attributes=adapter.classes.float()[[2, 3] * 8])
    for one in (of_source, replace(of_target, labelled=films)):
        all_losses(adapter, one)
    (pair,) = seen[0].values()
    drrs = of_source.labelled.attributes[:, 0] == 1
    assert drrs.sum() == 8
    assert_close(pair.source, of_source.labelled.image[drrs])
    assert pair.translated.shape == pair.valid.shape == pair.source.shape
    assert seen[1] == {}


def test_one_class_is_refused():
    with pytest.raises(ConfigError, match="1 class of images with all attributes known; expected at least 2"):
        tiny(attributes=VIEWS | {"sensible": (("source", "PA"),)})


def test_an_even_number_of_critic_steps_is_refused():
    with pytest.raises(ValidationError, match="an odd number is needed, found 4"):
        MatchGANConfig(critic_steps=4)


def test_with_the_default_the_generator_meets_labelled_and_other_steps_in_turn():
    generator = tiny().players[1]
    due = [step for step in range(40) if step % generator.every == 0]
    assert [step % 2 for step in due] == [0, 1] * 4


@pytest.mark.parametrize("one", [domain_only(3), unlabelled(3)], ids=["domain", "unlabelled"])
def test_batches_too_small_for_pairs_are_refused(one: Batch):
    adapter = tiny(attributes=VIEWS if one.source_attributes is not None else {})
    with pytest.raises(UsageError, match="3 images of each domain; expected at least 4"):
        all_losses(adapter, one)


def test_all_classes_are_judged_over_the_same_area():
    valid = torch.ones(16, 1, SIZE, SIZE).double()
    valid[0, :, :4], valid[4, :, 12:], valid[9, :, :, :4] = 0, 0, 0  # places 0, 0 and 1 of their groups
    adapter = watched(attributes=VIEWS)
    all_losses(adapter, labelled(adapter, valid))
    black = (adapter.discriminator.seen[0] == -1).flatten(1).sum(dim=1)
    assert black.tolist() == [8 * SIZE, 4 * SIZE, 0, 0] * 4


def test_structure_losses_see_every_image_of_a_labelled_turn():
    adapter = tiny(attributes=VIEWS, structure_losses=[{"name": "ngf"}])
    assert "generator/ngf_0_labelled" in all_losses(adapter, labelled(adapter))
    found = all_losses(adapter, unlabelled())
    assert {"generator/ngf_0_source", "generator/ngf_0_target"} <= found.keys()
    # an adapter that gives the image back, whatever the target, keeps structure
    still = watched(attributes=VIEWS, structure_losses=[{"name": "gradient_correlation"}])
    assert all_losses(still, labelled(still))["generator/gradient_correlation_0_labelled"].abs() < 1e-6
