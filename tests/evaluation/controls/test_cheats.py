"""Three planted cheats, each exposed by the instrument meant for it; the honest translator passes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medi2i.evaluation.controls import (
    ControlsConfig,
    Pair,
    PairScores,
    flags_of,
    positive_controls,
    score_pair,
    set_thresholds,
)
from medi2i.metrics.steganography import steganography_gap
from tests.evaluation.controls.chests import chest

CONFIG = ControlsConfig(rib_length_px=48)


@pytest.fixture(scope="module")
def thresholds() -> dict[str, float]:
    """From honest translations of patients that no test looks at."""
    return set_thresholds({"unchanged": [score_pair(chest(seed)) for seed in (20, 21, 22, 23, 24)]})


@pytest.fixture(scope="module")
def pair() -> Pair:
    return chest(1)


@pytest.fixture(scope="module")
def honest(pair) -> PairScores:
    return score_pair(pair)


def test_the_honest_translator_passes(honest, thresholds):
    assert flags_of(honest, thresholds) == ()
    assert honest.sanity == ()


def test_a_removed_rib_is_exposed_by_content(pair, thresholds):
    cheated = positive_controls(CONFIG)["dropped_rib"](pair, np.random.default_rng(0))
    assert "content" in flags_of(score_pair(cheated), thresholds)


def test_a_heart_moved_by_4_px_is_exposed_by_geometry(pair, thresholds):
    # the heart moves whole, and what is around it gives way within some 10 px
    moving = np.clip(1 - ndimage.distance_transform_edt(~pair.masks["heart"]) / 12, 0, 1)
    rows, columns = np.indices(pair.source.shape)
    moved = ndimage.map_coordinates(pair.translated, [rows, columns + 4 * moving], order=1, mode="nearest")
    assert "geometry" in flags_of(score_pair(replace(pair, translated=moved)), thresholds)


def test_an_inverted_translation_is_exposed_by_image_sanity_alone(pair, thresholds):
    scores = score_pair(replace(pair, translated=-pair.translated))
    assert scores.sanity == ("inverted",)
    assert flags_of(scores, thresholds) == ()


def test_a_source_hidden_in_high_frequencies_is_exposed_by_the_steganography_gap(pair):
    image = pair.source.astype(np.float64)
    board = np.where(np.indices(image.shape).sum(axis=0) % 2, 1.0, -1.0)
    smooth = ndimage.gaussian_filter(image, 6)

    def hide(source: np.ndarray) -> np.ndarray:
        return smooth + 0.02 * (source - smooth) * board

    def read(translated: np.ndarray) -> np.ndarray:
        coarse = ndimage.uniform_filter(translated, 2)
        return ndimage.gaussian_filter(translated, 6) + (translated - coarse) * board / 0.02

    def honest_way(source: np.ndarray) -> np.ndarray:
        return 0.5 * source + 0.1

    def honest_back(translated: np.ndarray) -> np.ndarray:
        return (translated - 0.1) / 0.5

    cheat = steganography_gap(image, hide(image), read, rng=np.random.default_rng(0))
    honest = steganography_gap(image, honest_way(image), honest_back, rng=np.random.default_rng(0))
    assert honest.worst < 1.5
    assert cheat.worst > 3 * honest.worst
