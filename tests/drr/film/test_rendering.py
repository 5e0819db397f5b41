import time

import pytest
import torch
from torch.testing import assert_close

from medi2i.config import find_preset, load_config
from medi2i.drr.film import (
    CollimationConfig,
    DisplayConfig,
    ExposureConfig,
    Film,
    FilmConfig,
    FilmDistribution,
    MarkerConfig,
    StorageConfig,
    render_film,
)

SPACING_MM = (1.2, 1.2)


def shadow(rows: int = 129, columns: int = 118) -> torch.Tensor:
    """A body in air with a lung and a faint square in it."""
    line_integral = torch.zeros(rows, columns)
    line_integral[10:, 8:-8] = 3.0
    line_integral[20:90, 15:50] = 1.4
    return line_integral[None]


def render(paths: torch.Tensor, config: FilmConfig, seed: int = 0, **settings) -> Film:
    arguments = {"spacing_mm": SPACING_MM, "magnification": 1.15} | settings
    return render_film(paths, config, generator=torch.Generator().manual_seed(seed), **arguments)


def quiet(config: FilmConfig) -> FilmConfig:
    """The same film without noise worth the name, in 16 bit."""
    exposure = config.exposure.model_copy(
        update={
            "detector_air_kerma_ugy": 1e7,
            "electronic_noise_ugy": 0.0,
            "saturation_ugy": 1e9,
        }
    )
    storage = StorageConfig(bits_stored=16)
    return config.model_copy(update={"exposure": exposure, "storage": storage})


def crossing(profile: torch.Tensor, near: int) -> float:
    """Position where a profile passes the middle of its levels 7 to 10 pixels to either side."""
    low, high = profile[near - 10 : near - 6].mean(), profile[near + 6 : near + 10].mean()
    middle = float(low + high) / 2
    window = profile[near - 5 : near + 6]
    step = int(((window[:-1] - middle) * (window[1:] - middle) <= 0).nonzero()[0])
    first, second = float(window[step]), float(window[step + 1])
    return near - 5 + step + (middle - first) / (second - first)


def site(name: str) -> FilmConfig:
    distribution = load_config(find_preset(name, "film"), FilmDistribution)
    return distribution.sample(torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "config", [FilmConfig(), site("site_a"), site("site_b")], ids=["default", "site_a", "site_b"]
)
def test_no_step_moves_an_edge(config):
    """A faint square's edges stay within 0.05 px.

    A curve, as the logarithm for a strong one, shifts where the middle of the levels is without moving a
    contour: here the median is that of the background, so it is left where it is.
    """
    line_integral = torch.full((1, 151, 138), 2.5)
    line_integral[0, 45:103, 41:99] += 0.05
    config = quiet(config).model_copy(update={"collimation": None, "marker": None})
    config = config.model_copy(
        update={
            "heel": config.heel.model_copy(update={"fall": 0.0}),
            "display": config.display.model_copy(update={"middle": None}),
        }
    )
    bright = render(line_integral, config).brightness().double()
    for profile, edges in ((bright[60:90].mean(0), (41, 99)), (bright[:, 55:85].mean(1), (45, 103))):
        for edge in edges:
            assert crossing(profile, edge) == pytest.approx(edge - 0.5, abs=0.05)


def test_bone_is_bright_and_lungs_are_dark_whatever_the_polarity():
    codes = {}
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        config = FilmConfig(storage=StorageConfig(bits_stored=10, photometric_interpretation=photometric))
        film = render(shadow(), config)
        bright = film.brightness()
        assert bright[40:80, 25:40].mean() < bright[40:80, 70:90].mean() - 0.2
        assert bright[:8].max() < bright[40:80, 25:40].mean()
        assert film.codes.dtype == torch.int32
        assert film.codes.max() <= 1023
        codes[photometric] = film.codes
    assert torch.equal(codes["MONOCHROME1"], 1023 - codes["MONOCHROME2"])


def test_same_generator_same_film_and_another_seed_other_noise():
    first, again, other = (render(shadow(), FilmConfig(), seed) for seed in (0, 0, 1))
    assert torch.equal(first.codes, again.codes)
    assert not torch.equal(first.codes, other.codes)


def test_the_same_numbers_are_drawn_whatever_is_switched_on():
    left = []
    for config in (FilmConfig(), site("site_b"), FilmConfig(grid=None, collimation=CollimationConfig())):
        generator = torch.Generator().manual_seed(7)
        render_film(shadow(), config, spacing_mm=SPACING_MM, magnification=1.1, generator=generator)
        left.append(torch.rand(3, generator=generator))
    assert_close(left[0], left[1])
    assert_close(left[0], left[2])


def test_a_film_is_the_same_on_any_number_of_threads():
    paths = torch.nn.functional.interpolate(shadow()[None], size=(256, 256), mode="bilinear")[0]
    config = quiet(FilmConfig(collimation=CollimationConfig()))
    threads, codes = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            codes.append(render(paths, config).codes)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(codes[0], codes[1])
    assert torch.equal(codes[0], codes[2])


@pytest.mark.parametrize("kind", ["lead", "electronic"])
@pytest.mark.parametrize("shutter", ["none", "black"])
def test_a_collimators_edge_cuts_no_marker(kind, shutter):
    collimation = CollimationConfig(border=(0.1, 0.1, 0.1, 0.1), rotation_deg=-3.0, shutter=shutter)
    marker = MarkerConfig(kind=kind, words="ERECT", height_mm=14.0)
    whole = render(shadow(), FilmConfig(marker=marker)).annotation
    film = render(shadow(), FilmConfig(marker=marker, collimation=collimation))
    assert (whole & ~film.exposed).any()
    assert not (film.annotation & ~film.exposed).any()
    assert film.annotation.sum() == whole.sum()


def test_a_marker_stands_where_the_drr_is_valid():
    valid = torch.ones(129, 118, dtype=torch.bool)
    valid[:20] = False
    film = render(shadow(), FilmConfig(marker=MarkerConfig()), valid=valid)
    assert film.annotation.any()
    assert not (film.annotation & ~valid).any()


def test_films_of_a_batch_are_the_films_of_its_images():
    config = quiet(FilmConfig())
    batch = torch.stack([shadow(), 0.7 * shadow() + 0.5])
    both = render(batch, config)
    assert both.codes.shape == (2, 129, 118)
    for number, image in enumerate(batch):
        # the noise differs, and is not worth a step of 12 bit
        assert_close(both.brightness()[number], render(image, config).brightness(), atol=2e-4, rtol=0)


def test_what_is_invalid_counts_in_nothing():
    valid = torch.ones(129, 118, dtype=torch.bool)
    valid[:, 100:] = False
    painted = shadow()
    painted[..., 100:] = 40.0
    clean, dirty = render(shadow(), FilmConfig(), valid=valid), render(painted, FilmConfig(), valid=valid)
    assert torch.equal(clean.codes, dirty.codes)
    assert torch.equal(clean.exposed, valid)
    assert not torch.equal(render(painted, FilmConfig()).codes[:, :100], clean.codes[:, :100])


@pytest.mark.parametrize(("shutter", "level"), [("white", 1.0), ("black", 0.0)])
def test_the_shutter_covers_what_was_not_exposed(shutter, level):
    collimation = CollimationConfig(border=(0.1, 0.1, 0.2, 0.1), rotation_deg=2.0, shutter=shutter)
    film = render(shadow(), FilmConfig(collimation=collimation))
    outside = film.brightness()[~film.exposed]
    assert 0.2 < outside.numel() / film.codes.numel() < 0.5
    assert outside.min() == outside.max() == level


def test_without_a_shutter_the_unexposed_border_is_white_and_falls_over_the_edge():
    collimation = CollimationConfig(border=(0.0, 0.0, 0.2, 0.0), edge_mm=12.0)
    film = render(shadow(), quiet(FilmConfig(collimation=collimation)))
    line = film.brightness()[110]
    assert line[:15].min() > 0.98
    assert (line[17:30].diff() < 0.01).all()


def test_direct_exposure_saturates():
    """Where the detector is saturated, rays of attenuation 0.3 and 0.8 are told apart no more."""
    paths = torch.full((1, 96, 96), 4.0)
    paths[:, :, :20] = 0.3
    paths[:, 48:, :20] = 0.8
    apart = []
    for saturation_ugy in (1e4, 20.0):
        exposure = ExposureConfig(saturation_ugy=saturation_ugy, electronic_noise_ugy=0.0)
        plain = DisplayConfig(latitude_compression=0.0, band_gains=(1.0, 1.0, 1.0), edge_limit=1e9)
        whole = {"lower_percentile": 0.0, "upper_percentile": 100.0, "reserve": 0.0, "middle": None}
        display = plain.model_copy(update=whole)
        bright = render(paths, FilmConfig(exposure=exposure, display=display)).brightness()
        apart.append(float((bright[70:90, 5:12].mean() - bright[5:25, 5:12].mean()).abs()))
        assert bright[:, 5:12].mean() < 0.2
    assert apart[0] > 0.02
    assert apart[1] == 0


def test_an_empty_beam_and_a_tiny_image_give_a_film():
    for paths in (torch.zeros(1, 40, 30), torch.full((2, 5, 4), 80.0), torch.full((1, 1, 1), 2.0)):
        film = render(paths, FilmConfig(marker=MarkerConfig()))
        assert film.codes.shape == paths.shape[1:]
        assert 0 <= film.codes.min() <= film.codes.max() <= 4095


def test_arguments_are_left_as_they_are():
    paths, valid = shadow(), torch.rand(129, 118) > 0.1
    before = paths.clone(), valid.clone()
    render(paths, site("site_b"), valid=valid)
    assert torch.equal(paths, before[0])
    assert torch.equal(valid, before[1])


def test_a_film_of_512_takes_a_fraction_of_a_second():
    paths = torch.nn.functional.interpolate(shadow()[None], size=(512, 512))[0]
    render(paths, FilmConfig(), spacing_mm=(0.8, 0.8))
    before = time.process_time()
    for _ in range(3):
        render(paths, FilmConfig(), spacing_mm=(0.8, 0.8))
    # some 0.03 s on one core; the bound leaves room for a busy machine
    assert (time.process_time() - before) / 3 < 0.6
