import torch
from torch.testing import assert_close

from medi2i.networks.tone_map import ToneBounds
from medi2i.networks.tone_predictor import TonePredictor, TonePredictorConfig, thumbnail

BOUNDS = ToneBounds()


def predictor(seed: int = 0) -> TonePredictor:
    return TonePredictorConfig(width=4, style_size=3).build(BOUNDS, seed=seed)


def unruly(seed: int = 0) -> TonePredictor:
    network = predictor(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.3, generator=generator)
    return network


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


def test_an_untrained_predictor_is_the_identity_with_a_trace_of_texture():
    grids = predictor()(image(2, 1, 70, 50), torch.ones(2, 1, 70, 50), torch.randn(2, 3))
    assert grids.increments.shape == (2, 8, 8, 8)
    assert grids.log_gains.shape == (2, 3, 16, 16)
    assert_close(grids.increments, torch.full((2, 8, 8, 8), 1 / 8))
    assert not grids.log_gains.any()
    # sigmoid(-3) of the cap
    assert_close(grids.amplitudes, torch.full((2, 2, 16, 16), 0.0474259 * BOUNDS.most_texture))


def test_style_and_image_decide_the_grids():
    network, pixels, valid = unruly(), image(1, 1, 64, 64), torch.ones(1, 1, 64, 64)
    styles = torch.eye(3)
    one = network(pixels, valid, styles[:1])
    other = network(pixels, valid, styles[1:2])
    another = network(image(1, 1, 64, 64, seed=1), valid, styles[:1])
    for grids in (other, another):
        assert (grids.increments - one.increments).abs().max() > 1e-3
        assert (grids.log_gains - one.log_gains).abs().max() > 1e-3


def test_what_is_not_image_is_not_seen():
    network, pixels, valid = unruly(), image(1, 1, 64, 64), torch.ones(1, 1, 64, 64)
    valid[..., :20] = 0
    other = torch.where(valid > 0, pixels, torch.full_like(pixels, 0.9))
    style = torch.zeros(1, 3)
    assert torch.equal(network(pixels, valid, style).increments, network(other, valid, style).increments)


def test_a_thumbnail_shows_the_square_around_the_image():
    small = thumbnail(torch.full((1, 1, 4, 8), 0.5), torch.ones(1, 1, 4, 8), 4)
    # two rows of four stand for 4 x 8 pixels; above and below it is black and not valid
    assert_close(small[0, 0], torch.tensor([-1.0, 0.5, 0.5, -1.0]).view(4, 1).expand(4, 4))
    assert_close(small[0, 1], torch.tensor([0.0, 1.0, 1.0, 0.0]).view(4, 1).expand(4, 4))


def test_the_same_seed_gives_the_same_weights():
    first, again, other = (predictor(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["levels.0.weight"], other["levels.0.weight"])
