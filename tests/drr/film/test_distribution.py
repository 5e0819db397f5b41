import pytest
import torch

from medi2i.config import dump_config, find_preset, load_config, validate_config
from medi2i.drr.film import FilmConfig, FilmDistribution, GridConfig, MarkerConfig
from medi2i.errors import ConfigError


def sampled(distribution: FilmDistribution, count: int = 200) -> list[FilmConfig]:
    generator = torch.Generator().manual_seed(4)
    return [distribution.sample(generator) for _ in range(count)]


def test_without_ranges_every_film_is_the_base():
    base = FilmConfig(grid=None, marker=MarkerConfig())
    assert set(map(dump_config, sampled(FilmDistribution(base=base), 5))) == {dump_config(base)}


def test_values_fill_their_ranges():
    distribution = FilmDistribution(kvp=(70.0, 90.0), scatter_fraction=(0.3, 0.5), detail_gain=(0.5, 2.0))
    films = sampled(distribution)
    kvp = [film.spectrum.kvp for film in films]
    assert 70 <= min(kvp) < 72 < 88 < max(kvp) <= 90
    assert sum(kvp) / len(kvp) == pytest.approx(80, abs=1.5)
    assert all(0.3 <= film.scatter.fraction <= 0.5 for film in films)
    factors = [film.display.band_gains[0] / FilmConfig().display.band_gains[0] for film in films]
    # half of a logarithmic range lies below its geometric mean
    assert sum(factor < 1 for factor in factors) == pytest.approx(100, abs=25)
    assert all(
        film.display.band_gains[1] / FilmConfig().display.band_gains[1] == pytest.approx(factor)
        for film, factor in zip(films, factors, strict=True)
    )


def test_probabilities_and_choices_are_kept():
    films = sampled(
        FilmDistribution(
            base=FilmConfig(grid=GridConfig(lines_per_mm=6.0)),
            grid_probability=0.5,
            monochrome1_probability=0.25,
            marker_probability=0.75,
            markers=(MarkerConfig(side="L"), MarkerConfig(side="R")),
            collimation_probability=0.5,
            collimation_border=(0.01, 0.05),
            bits_stored=(10, 14),
            curves=("soft", "hard", "linear"),
        ),
        400,
    )
    shares = {
        "grid": (sum(film.grid is not None for film in films), 200),
        "dark": (sum(film.storage.photometric_interpretation == "MONOCHROME1" for film in films), 100),
        "marker": (sum(film.marker is not None for film in films), 300),
        "L": (sum(film.marker is not None and film.marker.side == "L" for film in films), 150),
        "collimated": (sum(film.collimation is not None for film in films), 200),
        "10 bit": (sum(film.storage.bits_stored == 10 for film in films), 200),
        "soft": (sum(film.tone.curve == "soft" for film in films), 133),
    }
    # four standard deviations of 400 draws are at most 40
    assert {name: abs(found - wanted) <= 40 for name, (found, wanted) in shares.items()} == dict.fromkeys(
        shares, True
    )
    assert all(film.grid is None or film.grid.lines_per_mm == 6.0 for film in films)
    assert all(
        0.01 <= border <= 0.05 for film in films if film.collimation for border in film.collimation.border
    )


def test_a_new_range_leaves_what_the_others_draw():
    plain = FilmDistribution(kvp=(60.0, 125.0), contrast=(0.8, 1.2), collimation_probability=0.5)
    more = plain.model_copy(
        update={"brightness": (-0.1, 0.1), "grid_probability": 0.5, "bits_stored": (10, 12)}
    )
    for first, second in zip(sampled(plain, 20), sampled(more, 20), strict=True):
        assert first.spectrum == second.spectrum
        assert first.tone.contrast == second.tone.contrast
        assert first.collimation == second.collimation


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kvp": [90, 70]}, "kvp: .*lower limit comes first"),
        ({"contrast": [0.0, 1.0]}, "contrast: .*above 0"),
        ({"grid_probability": 1.5}, "grid_probability"),
        ({"kvpp": [60, 70]}, "did you mean 'kvp'"),
        ({"kvp": [10, 70]}, "a range reaches spectrum.kvp = 10.0"),
        ({"upper_percentile": [90, 101]}, "a range reaches display.upper_percentile"),
        ({"collimation_border": [0.0, 0.6]}, "collimation_border"),
    ],
)
def test_impossible_ranges_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        validate_config(values, FilmDistribution, "site.yaml")


def test_the_two_sites_make_different_films():
    sites = {
        name: sampled(load_config(find_preset(name, "film"), FilmDistribution))
        for name in ("site_a", "site_b")
    }
    voltages = {name: [film.spectrum.kvp for film in films] for name, films in sites.items()}
    assert max(voltages["site_b"]) < min(voltages["site_a"])
    for key in ("storage", "tone"):
        first, second = ({getattr(film, key) for film in films} for films in sites.values())
        assert not first & second
    assert {film.grid is None for film in sites["site_a"]} == {False}
    assert {film.grid is None for film in sites["site_b"]} == {True}


def test_no_site_writes_words_that_contradict_the_view():
    allowed = {"PA": {None, "PA", "ERECT"}, "AP": {None, "AP", "PORTABLE", "ERECT"}}
    for name in ("site_a", "site_b"):
        distribution = load_config(find_preset(name, "film"), FilmDistribution)
        for view, words in allowed.items():
            generator = torch.Generator().manual_seed(4)
            films = [distribution.sample(generator, view=view) for _ in range(200)]
            found = {film.marker.words for film in films if film.marker}
            assert found <= words
            assert name == "site_a" or len(found) >= 3
            marked = sum(film.marker is not None for film in films)
            assert marked == pytest.approx(200 * distribution.marker_probability, abs=25)


def test_a_view_changes_nothing_but_the_marker():
    distribution = load_config(find_preset("site_b", "film"), FilmDistribution)
    base = distribution.base.model_copy(update={"marker": MarkerConfig(words="SUPINE")})
    distribution = distribution.model_copy(update={"base": base, "marker_probability": 0.0})
    for seed in range(5):
        blind = distribution.sample(torch.Generator().manual_seed(seed))
        seen = distribution.sample(torch.Generator().manual_seed(seed), view="PA")
        lying = distribution.sample(torch.Generator().manual_seed(seed), view="AP", upright=False)
        assert blind.marker.words == lying.marker.words == "SUPINE"
        assert seen.marker == MarkerConfig()
        assert seen.model_copy(update={"marker": blind.marker}) == blind


def test_a_distribution_comes_back_from_its_yaml(tmp_path):
    distribution = load_config(find_preset("site_b", "film"), FilmDistribution)
    (tmp_path / "site.yaml").write_text(dump_config(distribution))
    assert load_config(tmp_path / "site.yaml", FilmDistribution) == distribution
