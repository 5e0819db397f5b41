"""Planted content: an honest method keeps it, one that repeats what it knew loses it, a third invents."""

from dataclasses import replace

import numpy as np
import pytest

from medi2i.evaluation.domains import NetworkImage
from medi2i.preservation import measure_hidden, measure_planted, measure_realism
from tests.evaluation.controls.chests import chest
from tests.preservation.chest_domains import CONFIG


def honest(image: NetworkImage) -> np.ndarray:
    return np.tanh(1.2 * image.image).astype(np.float32)


def planted_of(section) -> dict:
    return {row["kind"]: row for row in section["planted"]}


def test_an_honest_method_keeps_everything_and_invents_nothing(chest_domains, controls):
    section = measure_planted(chest_domains, honest, controls, out="run", config=CONFIG)
    assert (section["n_images"], section["n_patients"], section["reason"]) == (2, 2, None)
    for kind, row in planted_of(section).items():
        assert (row["n"], row["kept"]["count"], row["elsewhere"]["count"]) == (2, 2, 0), kind
        # what was planted is as strong in the translation as in the source, to what a curve changes
        assert 0.6 < row["response_median"] < 1.6, kind
    assert (section["invented"]["n"], section["invented"]["count"]) == (2, 0)


def test_a_method_that_repeats_what_it_knew_loses_everything(chest_domains, controls):
    known = {row.id: honest(chest_domains.read(row)) for row in chest_domains.source}
    section = measure_planted(
        chest_domains, lambda image: known[image.row.id], controls, out="run", config=CONFIG
    )
    for kind, row in planted_of(section).items():
        assert (row["lost"]["count"], row["kept"]["count"]) == (2, 0), kind
        assert row["response_median"] == pytest.approx(0, abs=1e-6)


def test_a_method_that_puts_a_nodule_into_every_image_invents(chest_domains, controls):
    rows, columns = np.indices(chest(0).source.shape)
    nodule = 0.5 * np.exp(-((rows - 70) ** 2 + (columns - 40) ** 2) / 18)

    def invent(image: NetworkImage) -> np.ndarray:
        return (honest(image) + nodule).astype(np.float32)

    section = measure_planted(chest_domains, invent, controls, out="run", config=CONFIG)
    assert section["invented"]["count"] == 2


def test_without_masks_of_lungs_nothing_is_planted(chest_domains, controls):
    bare = [replace(row, mask=None, structures=()) for row in chest_domains.source]
    section = measure_planted(replace(chest_domains, source=bare), honest, controls, out="run", config=CONFIG)
    assert section["n_images"] == 0
    assert "masks of lungs" in section["reason"]


def test_a_method_that_goes_one_way_has_no_steganography_gap(chest_domains):
    section = measure_hidden(chest_domains, honest, None, config=CONFIG)
    assert "one way" in section["reason"]


def test_a_way_back_that_reads_anatomy_magnifies_nothing_and_one_that_reads_a_code_does(chest_domains):
    board = np.where(np.indices(chest(0).source.shape).sum(axis=0) % 2, 1.0, -1.0)

    def halve(image: NetworkImage) -> np.ndarray:
        return 0.5 * image.image

    def double(translated: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return 2 * translated

    def hide(image: NetworkImage) -> np.ndarray:
        return 0.5 * board * np.abs(image.image) * 0.02 + 0.5 * image.image

    def read(translated: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return 2 * translated + 50 * (translated - np.roll(translated, 1, axis=1)) * board

    gaps = [
        measure_hidden(chest_domains, there, back, config=CONFIG)
        for there, back in ((halve, double), (hide, read))
    ]
    assert gaps[0]["cycle_error"]["estimate"] == pytest.approx(0, abs=1e-6)
    assert gaps[0]["n_images"] == 2
    assert gaps[0]["worst_amplification"] < 1.5
    assert gaps[1]["worst_amplification"] > 5


def test_realism_stands_beside_its_floor_with_n_and_the_extractor_hashed(chest_domains):
    section = measure_realism(chest_domains, lambda image: image.image, feature_size=64, config=CONFIG)
    assert section["n_source"] == section["n_target"] == 4
    assert section["rows"]["translated"] == section["rows"]["identity"]
    assert section["rows"]["identity"]["frechet"] > section["rows"]["histogram"]["frechet"] > 0
    assert set(section["rows"]) == {"identity", "histogram", "translated"}
    assert set(section["floor"]) == set(section["rows"]["identity"]) == {"kid", "energy", "frechet"}
    assert len(section["extractor_sha256"]) == 64
    again = measure_realism(chest_domains, lambda image: image.image, feature_size=128, config=CONFIG)
    assert again["extractor_sha256"] != section["extractor_sha256"]
