"""CycleGAN's step through the loop against the published update order, written out."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.adapters.cyclegan import CycleGAN
from medi2i.training.engine import make_accelerator
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper
from tests.training.toys import tiny_cyclegan

SEED = 11


class TranscribedPool:
    """The rule of Shrivastava et al.: a full pool answers with an old image half of the time."""

    def __init__(self, images: Tensor) -> None:
        self.images = list(images)

    def query(self, new: Tensor, host: torch.Generator) -> Tensor:
        answer = []
        for image in new:
            if torch.rand((), generator=host) < 0.5:
                answer.append(image)
                continue
            place = int(torch.randint(len(self.images), (), generator=host))
            answer.append(self.images[place])
            self.images[place] = image
        return torch.stack(answer)


class Transcription:
    """`optimize_parameters` of the paper: A is the source, B the target, lambda 10, identity 0.5."""

    def __init__(self, a_to_b: nn.Module, b_to_a: nn.Module, judge_b: nn.Module, judge_a: nn.Module) -> None:
        self.a_to_b, self.b_to_a, self.judge_b, self.judge_a = a_to_b, b_to_a, judge_b, judge_a
        generators = [*a_to_b.parameters(), *b_to_a.parameters()]
        self.judges = [*judge_b.parameters(), *judge_a.parameters()]
        self.optimizer_g = torch.optim.Adam(generators, lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(self.judges, lr=2e-4, betas=(0.5, 0.999))

    def step(
        self, a: Tensor, b: Tensor, pool_b: TranscribedPool, pool_a: TranscribedPool, host: torch.Generator
    ) -> dict[str, Tensor]:
        fake_b = self.a_to_b(a)
        rec_a = self.b_to_a(fake_b)
        fake_a = self.b_to_a(b)
        rec_b = self.a_to_b(fake_a)
        for parameter in self.judges:
            parameter.requires_grad_(False)
        self.optimizer_g.zero_grad()
        losses = {
            "generators/adversarial_target": ((self.judge_b(fake_b) - 1) ** 2).mean(),
            "generators/adversarial_source": ((self.judge_a(fake_a) - 1) ** 2).mean(),
            "generators/cycle_source": 10 * (rec_a - a).abs().mean(),
            "generators/cycle_target": 10 * (rec_b - b).abs().mean(),
            "generators/identity_target": 0.5 * 10 * (self.a_to_b(b) - b).abs().mean(),
            "generators/identity_source": 0.5 * 10 * (self.b_to_a(a) - a).abs().mean(),
        }
        sum(losses.values()).backward()
        self.optimizer_g.step()
        for parameter in self.judges:
            parameter.requires_grad_(True)
        self.optimizer_d.zero_grad()
        for name, judge, real, fake, pool in (
            ("target", self.judge_b, b, fake_b, pool_b),
            ("source", self.judge_a, a, fake_a, pool_a),
        ):
            pooled = pool.query(fake.detach(), host)
            loss = 0.5 * (((judge(real) - 1) ** 2).mean() + (judge(pooled) ** 2).mean())
            loss.backward()
            losses[f"discriminators/{name}"] = loss
        self.optimizer_d.step()
        return losses


def random_images(seed: int, count: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 1, 32, 32, generator=rng, dtype=torch.float64) - 1


NETWORKS = ("source_to_target", "target_to_source", "target_discriminator", "source_discriminator")


def build() -> tuple[CycleGAN, Transcription, TranscribedPool, TranscribedPool]:
    """Our CycleGAN and the transcription with the same weights, and both pools full."""
    adapter = tiny_cyclegan(generator={"width": 4, "blocks": 2}, discriminator={"width": 4, "layers": 2})
    adapter.double()
    old_b, old_a = random_images(1, 2), random_images(2, 2)
    everywhere = torch.ones_like(old_b)
    adapter.load_local_state(
        {"target_pool": torch.cat([old_b, everywhere], 1), "source_pool": torch.cat([old_a, everywhere], 1)}
    )
    published = Transcription(*(copy.deepcopy(getattr(adapter, name)) for name in NETWORKS))
    return adapter, published, TranscribedPool(old_b), TranscribedPool(old_a)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_two_steps_equal_the_published_update_order(tmp_path: Path, batch_size: int):
    adapter, published, pool_b, pool_a = build()
    before = [list(pool_b.images), list(pool_a.images)]
    config = TrainingConfig(steps=100, constant=1.0, batch_size=batch_size)
    stepper = Stepper(adapter, config, make_accelerator("cpu", "fp32"), seed=SEED, epoch_length=10)
    for step in range(2):
        a, b = random_images(10 + step, batch_size), random_images(20 + step, batch_size)
        sample = {"source": a, "target": b}
        sample |= {f"{name}_valid": torch.ones_like(image) for name, image in sample.items()}
        host = stepper.batch(sample, 0).host  # both draw the same decisions of the pool
        losses = stepper.take([sample])
        expected = published.step(a, b, pool_b, pool_a, host)
        assert losses.keys() == expected.keys()
        for name, value in expected.items():
            assert_close(losses[name], value.detach(), rtol=0, atol=1e-6)
    theirs = (published.a_to_b, published.b_to_a, published.judge_b, published.judge_a)
    for network, copied in zip(NETWORKS, theirs, strict=True):
        assert_close(
            dict(getattr(adapter, network).state_dict()), dict(copied.state_dict()), rtol=0, atol=1e-6
        )
    ours = adapter.local_state()
    assert_close(ours["target_pool"][:, :1], torch.stack(pool_b.images), rtol=0, atol=1e-9)
    assert_close(ours["source_pool"][:, :1], torch.stack(pool_a.images), rtol=0, atol=1e-9)
    after = [pool_b.images, pool_a.images]
    assert any(
        new is not old for pools in zip(after, before, strict=True) for new, old in zip(*pools, strict=True)
    )


def test_a_step_moves_every_network(tmp_path: Path):
    adapter = tiny_cyclegan()
    before = {name: value.clone() for name, value in adapter.state_dict().items()}
    config = TrainingConfig(steps=2)
    stepper = Stepper(adapter, config, make_accelerator("cpu", "fp32"), seed=SEED, epoch_length=10)
    a, b = random_images(1, 1).float(), random_images(2, 1).float()
    stepper.take(
        [{"source": a, "target": b, "source_valid": torch.ones_like(a), "target_valid": torch.ones_like(b)}]
    )
    still = [name for name, value in adapter.state_dict().items() if torch.equal(value, before[name])]
    # a bias in front of instance norm gets (nearly) no gradient; every kernel moves
    assert not [name for name in still if name.endswith("weight")]
