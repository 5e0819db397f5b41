from dataclasses import replace

import pytest

from medi2i.data.attributes import AttributesConfig
from medi2i.data.classes import bin_exposure, combination, resolve_attributes, row_codes, wanted_attributes
from medi2i.errors import NothingUsableError
from tests.evaluation.rows import make_row


def rows_of(domain, *attributes, split="train"):
    rows = [make_row(n, split=split, attributes=known) for n, known in enumerate(attributes)]
    return [replace(row, domain=domain) for row in rows]


def both(source=({},), target=({},)):
    return {"source": rows_of("source", *source), "target": rows_of("target", *target)}


def test_auto_takes_the_commonest_values_of_both_domains_training_images():
    target = [{"view": v} for v in ("AP", "AP", "lateral", "AP")]
    rows = both([{"view": "PA"}, {"view": "PA"}], target)
    rows["target"] += rows_of("target", *[{"view": "oblique"}] * 9, split="test")
    assert resolve_attributes(AttributesConfig(groups={"view": "auto"}), rows).groups == {
        "view": ("AP", "PA", "lateral")
    }


def test_auto_keeps_six_values_and_the_rest_is_unknown():
    known = [{"vendor": letter} for letter in "ABCDEFG" for _ in range(2 if letter != "C" else 1)]
    resolved = resolve_attributes(AttributesConfig(groups={"vendor": "auto"}), both(target=known))
    assert resolved.groups == {"vendor": ("A", "B", "D", "E", "F", "G")}
    (rare,) = rows_of("target", {"vendor": "C"})
    assert combination(rare, resolved) == ("target", None)


def test_an_auto_group_of_one_value_is_dropped_and_the_classes_are_the_domains():
    resolved = resolve_attributes(
        AttributesConfig(groups={"view": "auto"}), both([{"view": "PA"}], [{"view": "PA"}, {}])
    )
    assert resolved == AttributesConfig(sensible=(("source",), ("target",)))


def test_combinations_are_those_seen_the_commonest_of_a_domain_first():
    target = [{"view": "AP", "vendor": "GE"}, *[{"view": "PA", "vendor": "GE"}] * 2, {"view": "PA"}, {}]
    told = AttributesConfig(groups={"view": ("AP", "PA"), "vendor": ("GE", "Fuji")})
    resolved = resolve_attributes(told, both([{"view": "PA"}, {}], target))
    # no DRR has a vendor, so it is no part of their class; a film without one is not labelled
    assert resolved.sensible == (("source", "PA", None), ("target", "PA", "GE"), ("target", "AP", "GE"))
    assert resolve_attributes(resolved, both([{"view": "AP"}])) == resolved


def test_a_domain_without_a_single_labelled_image_is_refused():
    told = AttributesConfig(groups={"view": ("AP", "PA"), "vendor": ("GE", "Fuji")})
    rows = both([{"view": "PA"}], [{"view": "AP"}, {"vendor": "GE"}])
    with pytest.raises(NothingUsableError, match=r"the target domain.*all of view, vendor are known"):
        resolve_attributes(told, rows)


def test_codes_are_of_the_domain_and_the_known_values():
    told = AttributesConfig(groups={"view": ("PA", "AP")})
    codes = row_codes(rows_of("target", {"view": "AP"}, {}, {"view": "LL"}), told)
    assert codes.tolist() == [[0, 1, 0, 1], [0, 1, -1, -1], [0, 1, -1, -1]]
    assert row_codes([], told).shape == (0, 4)


def test_exposure_is_cut_at_the_terciles_of_the_training_images():
    # terciles of 1..7 are 3 and 5: 1, 2, 3 are low, 4, 5 middle, 6, 7 high
    training = rows_of("target", *({"exposure_index": str(n)} for n in range(1, 8)), {})
    test = rows_of("target", {"exposure_index": "3.01"}, {"exposure_index": "900"}, split="test")
    binned = [row.attributes.get("exposure") for row in bin_exposure([*training, *test])]
    assert binned == ["low"] * 3 + ["middle"] * 2 + ["high"] * 2 + [None, "middle", "high"]


def test_one_scale_of_exposure_counts_for_the_domain():
    most = [{"kvp_mas": str(n), "deviation_index": "1"} for n in (100, 200, 300)]
    rows = rows_of("target", *most, {"exposure_index": "5"}, {"kvp_mas": "50", "exposure": "high"})
    # of 50, 100, 200, 300 the terciles are 100 and 200
    assert [row.attributes for row in bin_exposure(rows)] == [
        {"exposure": "low"},
        {"exposure": "middle"},
        {"exposure": "high"},
        {},
        {"exposure": "high"},  # what a table says is kept
    ]


def test_two_exposures_make_no_terciles():
    rows = rows_of("target", *({"exposure_index": n} for n in ("1", "2", "2")))
    assert all(row.attributes == {} for row in bin_exposure(rows))


def test_numbers_are_read_for_the_exposure_only():
    assert wanted_attributes(AttributesConfig(groups={"view": "auto"})) == ("view",)
    told = AttributesConfig(groups={"exposure": ("low", "middle", "high")})
    assert wanted_attributes(told) == ("exposure", "exposure_index", "deviation_index", "kvp_mas")
