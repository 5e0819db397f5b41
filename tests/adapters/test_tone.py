import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.adapters import Shared, ToneConfig
from medi2i.adapters.tone import Tone
from medi2i.data.settings import DataConfig
from medi2i.drr.geometry import ConeBeamGeometry, Pose, make_camera
from medi2i.drr.phantom.settings import PhantomConfig
from medi2i.drr.phantom.views import phantom_patient
from medi2i.drr.projection import prepare_patient, project_view
from medi2i.errors import UsageError
from medi2i.image import IntensityMap
from medi2i.metrics.deformation import measure_deformation
from medi2i.networks.discriminator import PatchGANConfig
from medi2i.networks.tone_map import ToneBounds, apply_tone, bound_grids
from medi2i.networks.tone_predictor import TonePredictorConfig
from medi2i.networks.tone_texture import draw_texture, weigh_texture
from medi2i.training.engine import make_accelerator
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper
from medi2i.translation import Translator
from tests.adapters.transparent import GrayLevel, batch, constant, image

SMALL = PatchGANConfig(width=4, layers=1, norm="none")


def tone(seed: int = 0, **changes: object) -> Tone:
    settings = {
        "predictor": TonePredictorConfig(width=4),
        "discriminator": SMALL,
        "tone_discriminator": SMALL,
        "window_px": None,
        "tone_factor": 1,
        "augmentation": None,
    }
    return ToneConfig(**(settings | changes)).build(seed=seed)


def shake(adapter: Tone, scale: float, seed: int = 0) -> Tone:
    """Large random weights everywhere, the last layers included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in adapter.predictor.parameters():
            weight.normal_(0, scale, generator=generator)
    return adapter.eval()


def translated(adapter: Tone, pixels: Tensor, **options: object) -> Tensor:
    with torch.no_grad():
        return adapter.translate(pixels, direction="source-to-target", **options)


def all_losses(adapter: Tone, source: Tensor, target: Tensor) -> dict[str, Tensor]:
    one, shared = batch(source, target), Shared()
    return {
        f"{player.name}/{name}": value
        for player in adapter.players
        for name, value in adapter.losses(player, one, shared).items()
    }


def phantom_chest(side: int) -> np.ndarray:
    """DRR of a phantom patient in [-1, 1]."""
    geometry = ConeBeamGeometry(rows=side, columns=side, detector_spacing_mm=(384 / side, 384 / side))
    config = PhantomConfig(geometry=geometry)
    prepared = prepare_patient(phantom_patient(config, 0).volume, None, config.attenuation)
    camera = make_camera(config.geometry, config.view, isocenter_mm=np.zeros(3), pose=Pose())
    line_integral = project_view(prepared, camera).line_integral
    return (2 * line_integral / line_integral.max() - 1).astype(np.float32)


def moved_p95_px(chest: np.ndarray, adapter: Tone, *, style: int) -> float:
    """How far a translation that is another look, and whose movement can be judged, moved anatomy."""
    out = translated(adapter, torch.from_numpy(chest)[None, None], style=style)[0, 0].numpy()
    assert np.abs(out - chest).mean() > 0.01  # it is another look
    found = measure_deformation(chest, out, spacing_mm=None)
    assert found.coverage > 0.2
    return found.p95_px


# large weights saturate every bound at once
@pytest.mark.parametrize(("scale", "seed"), [(0.1, 0), (1.0, 0), (1.0, 2)])
def test_whatever_the_weights_anatomy_stays(chest: np.ndarray, scale: float, seed: int):
    assert moved_p95_px(chest, shake(ToneConfig().build(seed=seed), scale, seed), style=seed) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_weights_anatomy_stays_at_the_reference_size(seed: int):
    assert moved_p95_px(phantom_chest(256), shake(ToneConfig().build(seed=seed), 1.0, seed), style=seed) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("signs", list(itertools.product((-1.0, 1.0), repeat=3)))
def test_anatomy_stays_at_every_corner_of_the_bounds(signs: tuple[float, float, float]):
    bounds, chest = ToneBounds(), phantom_chest(256)
    one = torch.from_numpy(chest)[None, None]
    bends = torch.full((1, bounds.pieces, 8, 8), 100.0)
    bends[..., 4:] = -100.0  # left and right the other way
    gains = 100 * torch.tensor(signs).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    grids = bound_grids(bends, gains, torch.full((1, 2, 16, 16), 100.0), bounds)
    noise = draw_texture(one.shape, bounds.reference_px, 1, torch.Generator().manual_seed(0))
    out = (apply_tone(one, grids, bounds) + weigh_texture(noise, grids.amplitudes)).clamp(-1, 1)
    assert measure_deformation(chest, out[0, 0].numpy(), spacing_mm=None).p95_px < 0.3


@pytest.fixture(scope="module")
def chest() -> np.ndarray:
    return phantom_chest(128)


def test_every_loss_of_constant_images_is_hand_computed():
    adapter = tone(bounds=ToneBounds(most_texture=0.0), diversity=0.5, adversarial=2.0)
    adapter.discriminator, adapter.tone_discriminator = GrayLevel(), GrayLevel()
    losses = all_losses(adapter, constant(0.5), constant(-0.25))
    judged = 0.5 * ((-0.25 - 1) ** 2 + 0.5**2)
    expected = {
        # an untrained predictor is the identity: the translation is 0.5
        "generator/detail": 2 * (0.5 - 1) ** 2,
        "generator/tone": (0.5 - 1) ** 2,
        "generator/diversity": 0.5,  # both styles look alike
        "discriminators/detail": 2 * judged,
        "discriminators/tone": judged,
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(losses[name].item(), value, rtol=0, atol=1e-5)


def test_weights_of_zero_turn_terms_off():
    adapter = tone(diversity=0.0, adversarial_tone=0.0)
    losses = all_losses(adapter, constant(0.5), constant(-0.25))
    assert losses.keys() == {"generator/detail", "discriminators/detail"}
    assert [player.networks for player in adapter.players] == [("predictor",), ("discriminator",)]


def test_styles_that_differ_enough_cost_nothing():
    adapter = shake(tone(diversity_distance=0.001), 0.5)
    assert all_losses(adapter, image(0), image(1))["generator/diversity"] == 0


def test_structure_losses_attach():
    adapter = tone(structure_losses=[{"name": "gradient_correlation", "weight": 2.0}])
    losses = all_losses(shake(adapter, 0.5), image(0), image(1))
    (name,) = (name for name in losses if "gradient_correlation" in name)
    assert 0 < losses[name] < 2


def test_all_looks_of_a_batch_are_judged_in_the_same_window():
    adapter = tone(window_px=16, adversarial_tone=0.0, bounds=ToneBounds(most_texture=0.0))
    judge = GrayLevel()
    adapter.discriminator = judge
    source = torch.arange(24.0**2).view(1, 1, 24, 24).repeat(2, 1, 1, 1) / 24**2
    all_losses(adapter, source, source)
    assert [tuple(seen.shape[-2:]) for seen in judge.seen] == [(16, 16)] * 3
    # an untrained predictor is the identity and the target is the source: the same place looks the same
    assert_close(judge.seen[0], judge.seen[1])
    assert_close(judge.seen[0], judge.seen[2])


def test_a_step_moves_each_player_in_its_turn():
    adapter = tone()
    before = {name: value.clone() for name, value in adapter.named_parameters()}
    stepper = Stepper(
        adapter, TrainingConfig(steps=2), make_accelerator("cpu", "fp32"), seed=0, epoch_length=1
    )
    sample = {"source": image(0), "target": image(1)}
    sample |= {f"{name}_valid": torch.ones_like(value) for name, value in sample.items()}
    stepper.take([sample])
    moved = {name for name, value in adapter.named_parameters() if not torch.equal(value, before[name])}
    # heads start at 0, so that nothing behind them learns in the first step
    assert "predictor.tone_head.weight" in moved
    assert "predictor.detail_head.weight" in moved
    assert {name for name in moved if name.endswith("weight") and "discriminator" in name} == {
        name for name in before if name.endswith("weight") and "discriminator" in name
    }
    stepper.take([sample])
    assert not torch.equal(
        adapter.get_parameter("predictor.levels.0.weight"), before["predictor.levels.0.weight"]
    )


def test_discriminators_see_detached_translations():
    adapter, one, shared = tone(), batch(image(0), image(1)), Shared()
    adapter.losses(adapter.players[0], one, shared)
    sum(adapter.losses(adapter.players[1], one, shared).values()).backward()
    assert all(p.grad is None for p in adapter.predictor.parameters())
    assert all(p.grad is not None for p in adapter.discriminator.parameters())


def test_a_translation_is_the_same_every_time_and_in_every_batch():
    adapter = shake(tone(), 0.5)
    two = image(0, 40)
    together = translated(adapter, two)
    assert torch.equal(together, translated(adapter, two))
    assert_close(together[1:], translated(adapter, two[1:]))
    assert not torch.equal(together, translated(shake(tone(seed=1), 0.5), two))


def test_styles_are_draws_the_mean_or_vectors():
    adapter, pixels = shake(tone(bounds=ToneBounds(most_texture=0.0)), 0.5), image(0, 40)
    looks = [translated(adapter, pixels, style=style) for style in (0, 1, 2, "mean")]
    for same in (None, "random"):
        assert torch.equal(translated(adapter, pixels, style=same), looks[0])
    for number, look in enumerate(looks):
        for other in looks[:number]:
            assert (look - other).abs().mean() > 0.01
    zeros = torch.zeros(8)
    assert torch.equal(translated(adapter, pixels, style=zeros), looks[-1])
    assert torch.equal(translated(adapter, pixels, style=zeros.expand(2, 8)), looks[-1])


def test_texture_alone_differs_from_style_to_style():
    adapter = tone(bounds=ToneBounds(most_texture=0.1))  # untrained: the style changes no tone
    pixels = torch.zeros(1, 1, 40, 40)
    one, other = (translated(adapter, pixels, style=style) for style in (0, 1))
    assert abs(float(one.mean())) < 1e-4
    # two textures of sigmoid(-3) of 0.1 each
    assert float(one.std()) == pytest.approx(0.1 * 0.0474 * 2**0.5, rel=0.1)
    assert (one - other).abs().max() > 1e-3


def test_codes_of_styles_come_from_a_generator():
    one, again = (tone().sample_styles(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert one.shape == (3, 8)
    assert torch.equal(one, again)


@pytest.mark.parametrize("style", [True, 0.5, "dark", torch.zeros(3)])
def test_other_styles_are_refused(style: object):
    with pytest.raises(UsageError, match="expected nothing, an integer, 'random', 'mean'"):
        translated(tone(), image(0), style=style)


def test_the_way_back_is_refused():
    with pytest.raises(UsageError, match="learns one way only"):
        tone().translate(image(0), direction="target-to-source")


def test_whole_images_are_translated_at_their_own_matrix():
    class Seen(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network, self.shapes = network, []

        def forward(self, pixels: Tensor, valid: Tensor, style: Tensor) -> object:
            self.shapes.append(tuple(pixels.shape))
            return self.network(pixels, valid, style)

    adapter = tone(bounds=ToneBounds(most_texture=0.0))
    adapter.predictor = Seen(adapter.predictor)
    origin = {"method": "tone", "step": 1, "weights_sha256": "0" * 64}
    maps = {name: IntensityMap(0.0, 1.0) for name in ("source", "target")}
    data = DataConfig(working_size=32, crop_size=32)
    translator = Translator(adapter, data, maps, torch.device("cpu"), origin)
    pixels = image(0, 97)[0, 0, :, :75].numpy()
    out, how = translator.translate(pixels, np.ones((97, 75), bool), "source-to-target")
    np.testing.assert_allclose(out, pixels, atol=1e-5)  # untrained: the identity, every pixel kept
    assert adapter.predictor.shapes == [(1, 1, 97, 75)]
    assert how == {"working_rows": 97, "working_columns": 75, "detail_gain": None}


def test_the_state_brings_back_the_translation():
    trained = shake(tone(seed=3), 0.5)
    loaded = tone(seed=0).eval()
    loaded.load_state_dict(trained.state_dict())
    assert torch.equal(translated(loaded, image(0, 40)), translated(trained, image(0, 40)))
