import math

import numpy as np

from medi2i.evaluation import Domains, fix_reference
from tests.evaluation.rows import CONFIG, nothing


def test_histogram_matching_is_nearer_to_the_target_than_nothing(reference):
    distance = {name: values["distance"]["all"] for name, values in reference.baselines.items()}
    assert distance["histogram"] < distance["identity"]


def test_a_single_patient_counts_by_image(domains, monkeypatch):
    one = [type(row)(**{**vars(row), "patient": "p"}) for row in domains.target]
    single = Domains(**{**vars(domains), "target": one})
    fixed = fix_reference(single, CONFIG, seed=0, tick=nothing)
    assert fixed.target_groups == {"train": None, "validation": None, "test": None}
    assert math.isfinite(fixed.floors["all"]["mean"])
    assert math.isfinite(fixed.baselines["identity"]["distance"]["all"])


def test_a_film_without_features_does_not_undefine_the_floors(domains, monkeypatch):
    blank = {next(row.id for row in domains.target if row.split == split) for split in ("train", "test")}
    original = Domains.images

    def with_blanks(self, *names):
        for image in original(self, *names):
            hidden = np.zeros_like(image.valid) if image.row.id in blank else image.valid
            yield type(image)(image.row, image.image, hidden)

    monkeypatch.setattr(Domains, "images", with_blanks)
    fixed = fix_reference(domains, CONFIG, seed=0, tick=nothing)
    held_out = sum(row.split != "train" for row in domains.target) - 1
    assert fixed.floors["all"]["n_images"] == fixed.floors["all"]["n_patients"] == held_out
    assert all(math.isfinite(floor["mean"]) for floor in fixed.floors.values())
    assert math.isfinite(fixed.baselines["identity"]["distance"]["all"])


def test_the_reference_is_fixed_by_its_seed(domains, reference):
    again = fix_reference(domains, CONFIG, seed=0, tick=nothing)
    assert again.floors == reference.floors
    assert fix_reference(domains, CONFIG, seed=1, tick=nothing).floors != reference.floors
