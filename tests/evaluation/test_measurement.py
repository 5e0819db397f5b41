import math

import numpy as np
import pytest

from medi2i.evaluation import Domains, measure_translation, measurement, summarize
from medi2i.evaluation.domains import patients
from tests.evaluation.rows import CONFIG, make_row, nothing


def test_a_summary_is_over_images_with_an_interval_over_patients():
    rows = [{"m": value} for value in (1.0, 2.0, 3.0, 4.0, 5.0, math.nan)]
    manifest = [make_row(n, f"p{n % 3}") for n in range(6)]
    summary = summarize(rows, manifest, ["m"])["m"]
    assert (summary["p5"], summary["median"], summary["p95"]) == (1.2, 3.0, 4.8)
    mean = summary["mean"]
    assert (mean["estimate"], mean["n_images"], mean["n_undefined"], mean["n_patients"]) == (3.0, 5, 1, 3)
    # p0 has 1 and 4, p1 2 and 5, p2 3: sums less 3 an image are -1, 1 and 0, variance 1, on 5 / 3 images
    half = 4.302653 * math.sqrt(1 / 3) / (5 / 3)
    assert (mean["low"], mean["high"]) == pytest.approx((3 - half, 3 + half))
    assert mean["patients_unknown"] is False


def test_one_patient_has_no_interval():
    manifest = [make_row(n, "p") for n in range(3)]
    mean = summarize([{"m": v} for v in (1.0, 2.0, 6.0)], manifest, ["m"])["m"]["mean"]
    assert (mean["estimate"], mean["low"], mean["high"]) == (3.0, None, None)


def test_unknown_patients_are_marked():
    manifest = [make_row(0, "p"), make_row(1), make_row(2, "q")]
    mean = summarize([{"m": v} for v in (1.0, 2.0, 6.0)], manifest, ["m"])["m"]["mean"]
    assert mean["patients_unknown"] is True
    assert mean["n_patients"] is None
    assert mean["low"] < 3.0 < mean["high"]


def test_the_identity_keeps_all_structure_and_its_distance_is_the_baselines(domains, reference):
    measured = measure_translation(domains, reference, lambda image: image.image, CONFIG, tick=nothing)
    for row in measured["images"]:
        assert row["gradient_correlation"] == pytest.approx(1.0, abs=1e-5)
        assert (row["edge_median"], row["edge_p95"], row["edge_unit"], row["flags"]) == (0.0, 0.0, "mm", [])
    assert measured["distance"] == reference.baselines["identity"]["distance"]
    assert measured["n_undefined_features"] == 0


def test_one_unknown_spacing_puts_all_edges_into_pixels(domains, reference):
    first = type(domains.source[0])(**{**vars(domains.source[0]), "spacing_mm": None})
    mixed = Domains(**{**vars(domains), "source": [first, *domains.source[1:]]})

    def shifted(image):
        return np.roll(image.image, 2, axis=1)

    measured = {
        name: measure_translation(one, reference, shifted, CONFIG, tick=nothing)["images"]
        for name, one in (("mm", domains), ("px", mixed))
    }
    assert {unit: {row["edge_unit"] for row in rows} for unit, rows in measured.items()} == {
        "mm": {"mm"},
        "px": {"px"},
    }
    # columns are 3 mm and rows 2 mm wide: of a shift by two columns half the edges lie within two pixels
    assert all(row["edge_median"] <= 2 for row in measured["px"])
    assert np.median([row["edge_median"] for row in measured["mm"]]) > 2


def test_the_target_itself_is_at_the_floor(domains, reference):
    """Real films in place of translations: their distance is of the size of the floor."""
    films = [image.image for image in domains.images("target", "test", "validation")]
    numbers = {row.id: n for n, row in enumerate(domains.source)}

    def translation(image):
        film = films[numbers[image.row.id] % len(films)]
        return np.pad(film, ((0, 0), (0, 4)), mode="edge")[:32]

    measured = measure_translation(domains, reference, translation, CONFIG, tick=nothing)
    assert measured["distance"]["all"] < 0.3 * reference.baselines["identity"]["distance"]["all"]


def test_a_ruined_translation_is_flagged_and_undefined_features_are_counted(domains, reference):
    def translation(image):
        number = int(image.row.id[-4:])
        if number == 0:
            return np.full_like(image.image, -1)
        if number == 1:
            return -image.image
        return np.full_like(image.image, np.nan) if number == 2 else image.image

    measured = measure_translation(domains, reference, translation, CONFIG, tick=nothing)
    flags = [row["flags"] for row in measured["images"]]
    assert flags[:4] == [["constant", "empty"], ["inverted"], ["nonfinite"], []]
    assert measured["n_undefined_features"] == 1
    assert math.isfinite(measured["distance"]["all"])
    assert measured["structure"]["gradient_correlation"]["mean"]["n_undefined"] == 1


def test_pairs_within_a_patient_do_not_count(domains, reference, monkeypatch):
    seen = []

    def spy(x, y, *, x_groups=None, y_groups=None):
        seen.append((len(x), x_groups, len(y), y_groups))
        return {}

    monkeypatch.setattr(measurement, "energy_distances", spy)
    measure_translation(domains, reference, lambda image: image.image, CONFIG, tick=nothing)
    test, source, held_out = (
        patients(domains.rows(*chosen)) for chosen in (("target", "test"), ("source",), ("source", "test"))
    )
    assert len(set(source)) == 6 and len(source) == 12
    assert seen == [(12, source, len(test), test), (len(held_out), held_out, len(test), test)]
