import pytest
import torch
from pydantic import TypeAdapter

from medi2i.adapters import AdapterConfig
from medi2i.adapters.randomisation import (
    WIDE,
    AppearanceDistribution,
    Randomisation,
    RandomisationConfig,
    randomise_appearance,
)
from medi2i.drr.film import FilmConfig, FilmDistribution, ToneConfig, render_film
from medi2i.errors import UsageError

FORWARD = "source-to-target"


def body(seed: int = 0, size: int = 64) -> torch.Tensor:
    """A body with a lung, a rib and some texture, in [-1, 1], (1, 1, H, W)."""
    image = torch.full((size, size), 0.2)
    image[size // 4 : size // 2, size // 8 : size // 2] = -0.4
    image[size // 3 : size // 3 + 3] += 0.1
    texture = torch.rand(size, size, generator=torch.Generator().manual_seed(seed))
    return (image + 0.05 * texture)[None, None]


def adapter(seed: int = 0) -> Randomisation:
    return RandomisationConfig().build(seed=seed)


def translated(image: torch.Tensor, seed: int = 0, **settings) -> torch.Tensor:
    return adapter(seed).translate(image, direction=FORWARD, **settings)


def test_the_same_image_and_seed_give_the_same_film_in_any_batch():
    one, other = body(0), body(1)
    alone = translated(one)
    assert torch.equal(alone, translated(one))
    assert torch.equal(translated(torch.cat([other, one, one]))[1:], alone.expand(2, -1, -1, -1))


def test_seed_style_and_content_each_choose_another_film():
    one = body()
    films = [translated(one), translated(one, seed=1), translated(one, style=1), translated(one, style=2)]
    assert torch.equal(translated(one, style=0), films[0])
    changed = one.clone()
    changed[0, 0, 5, 5] += 0.01
    films.append(translated(changed))
    for number, first in enumerate(films):
        for second in films[:number]:
            assert (first - second).abs().mean() > 0.01


def test_the_seed_travels_in_the_state():
    restored = adapter(0)
    restored.load_state_dict(adapter(5).state_dict())
    assert torch.equal(restored.translate(body(), direction=FORWARD), translated(body(), seed=5))


def test_the_global_random_state_is_neither_used_nor_touched():
    torch.manual_seed(1)
    first = translated(body())
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    assert torch.equal(translated(body()), first)


def test_films_are_in_range_and_bone_stays_brighter_than_lung():
    for seed in range(12):
        film = translated(body(), seed=seed)
        assert film.shape == (1, 1, 64, 64)
        assert -1 <= film.min() < film.max() <= 1
        assert film[..., 40:60, 10:60].mean() > film[..., 24:32, 10:30].mean() + 0.05


def test_tones_spread_as_those_of_real_films():
    """White is for markers and metal: 132 real films have 0.1 % of it in the median, 26 % at most.

    The body is half lung, half dense, so that curves and windows tied to neither would burn one of them out.
    """
    white, middle, spread = [], [], []
    ramp = torch.linspace(-0.1, 0.1, 64)[None, :]
    for seed in range(40):
        image = body(seed) + ramp
        film = (translated(image, seed=seed)[0, 0] + 1) / 2
        white.append(float((film >= 0.95).float().mean()))
        middle.append(float(film.median()))
        spread.append(float(film.std()))
        dense = film[40:60, 4:60]
        assert float(dense.quantile(0.9) - dense.quantile(0.1)) > 0.05
    assert sorted(white)[20] < 0.03
    assert max(white) < 0.2
    # still many looks
    assert min(middle) < 0.5 < 0.6 < max(middle)
    assert max(spread) > 1.5 * min(spread)


def test_nothing_moves():
    """The lung's lower edge is steepest between the rows where the source's is, in every film."""
    source = body()
    for seed in range(8):
        steepest = [
            int(image[0, 0, 10:58, 12:28].mean(1).diff().argmax())
            for image in (source, translated(source, seed=seed))
        ]
        assert steepest[0] == steepest[1] == 32 - 10 - 1


def test_what_is_invalid_counts_in_nothing_and_stays():
    image, valid = body(), torch.ones(1, 1, 64, 64)
    valid[..., 50:] = 0
    painted = image.clone()
    painted[..., 50:] = 1.0
    clean, dirty = translated(image, valid=valid), translated(painted, valid=valid)
    assert torch.equal(clean[..., :50], dirty[..., :50])
    assert torch.equal(clean[..., 50:], image[..., 50:])
    assert torch.equal(dirty[..., 50:], painted[..., 50:])
    assert not torch.equal(translated(painted)[..., :50], clean[..., :50])
    nowhere = torch.zeros_like(valid)
    assert torch.equal(translated(image, valid=nowhere), image)


def test_the_way_back_is_refused():
    with pytest.raises(UsageError, match=r"target-to-source.*'randomisation'"):
        adapter().translate(body(), direction="target-to-source")


@pytest.mark.parametrize("style", ["random", 0.5, True])
def test_a_style_that_is_no_integer_is_refused(style):
    with pytest.raises(UsageError, match=r"style: .*expected an integer"):
        translated(body(), style=style)


def test_it_learns_nothing_and_offers_many_films_one_way():
    made = adapter()
    assert made.players == ()
    assert made.multimodal
    assert not made.bidirectional
    assert made.reconstruct(body(), body(), FORWARD) is None


def test_the_film_is_that_of_the_stated_line_integral():
    """Without anything random: full scale 6, no bone, so a value of 0 is a line integral of 3."""
    film = FilmConfig(tone=ToneConfig(curve="linear"))
    distribution = AppearanceDistribution(
        film=FilmDistribution(base=film), full_scale=(6.0, 6.0), bone_share=(0.0, 0.0), shorter_side_mm=128.0
    )
    image = body()
    found = randomise_appearance(image, distribution, torch.Generator().manual_seed(0))
    expected = render_film(
        (image[0] + 1) * 3,
        film,
        spacing_mm=(2.0, 2.0),
        magnification=1.15,
        generator=torch.Generator().manual_seed(9),
    )
    # only the noise differs
    assert (found[0, 0] - (2 * expected.brightness() - 1)).abs().mean() < 0.03
    assert float((found[0, 0] - (2 * expected.brightness() - 1)).mean()) == pytest.approx(0, abs=0.005)


def test_a_batch_is_randomised_image_by_image_from_one_generator():
    images = body().expand(3, -1, -1, -1)
    before = images.clone()
    films = randomise_appearance(images, AppearanceDistribution(), torch.Generator().manual_seed(0))
    again = randomise_appearance(images, AppearanceDistribution(), torch.Generator().manual_seed(0))
    assert torch.equal(films, again)
    assert torch.equal(images, before)
    assert (films[0] - films[1]).abs().mean() > 0.02
    assert (films[1] - films[2]).abs().mean() > 0.02


def test_an_empty_batch_stays_empty():
    nothing = torch.zeros(0, 1, 8, 8)
    assert randomise_appearance(nothing, AppearanceDistribution(), torch.Generator()).shape == nothing.shape
    assert translated(nothing).shape == nothing.shape


def test_the_configuration_comes_back_from_json():
    config = RandomisationConfig(distribution=AppearanceDistribution(film=WIDE, shorter_side_mm=300.0))
    assert TypeAdapter(AdapterConfig).validate_json(config.model_dump_json()) == config


@pytest.mark.cuda
def test_a_gpu_gives_the_same_film():
    assert torch.equal(translated(body().cuda()).cpu(), translated(body()))
