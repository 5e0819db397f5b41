import pytest

from medi2i.evaluation import describe_domain, summarize
from medi2i.evaluation.domains import patients
from tests.evaluation.rows import make_row


def test_patients_are_numbered_by_first_occurrence_whatever_their_hashes():
    first = [make_row(n, patient) for n, patient in enumerate(["zz", "aa", "zz", "mm"])]
    other = [make_row(n, patient) for n, patient in enumerate(["11", "99", "11", "55"])]
    labels = ["patient-000000", "patient-000001", "patient-000000", "patient-000002"]
    assert patients(first) == patients(other) == labels
    assert patients([*first, make_row(4)]) is None
    values = [{"m": value} for value in (1.0, 5.0, 2.0, 9.0)]
    assert summarize(values, first, ["m"]) == summarize(values, other, ["m"])


def test_a_domain_is_described_by_counts_without_names():
    rows = [
        make_row(0, "p", rows=10, columns=20, bits_stored=12, spacing_origin="detector", split="train"),
        make_row(1, "p", rows=30, columns=5, bits_stored=8, valid_fraction=0.5, structures=("heart",)),
        make_row(2, "q", rows=10, columns=30, split="validation", attributes={"view": "AP"}),
    ]
    assert describe_domain(rows, skipped=4) == {
        "n_images": 3,
        "n_skipped": 4,
        "n_patients": 2,
        "patients_unknown": False,
        "splits": {"train": 1, "validation": 1, "test": 1},
        "matrix_smallest": [10, 20],
        "matrix_largest": [30, 5],
        "bits_stored": [8, 12],
        "spacing_origins": {"detector": 1, "unknown": 2},
        "structures": ["heart"],
        "mean_valid_fraction": pytest.approx(2.5 / 3),
        "attributes": {"view": {"unknown": 2, "AP": 1}},
    }
    unknown = describe_domain([make_row(0, "p"), make_row(1)], skipped=0)
    assert (unknown["n_patients"], unknown["patients_unknown"]) == (None, True)
