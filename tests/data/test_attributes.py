import pytest
import torch

from medi2i.config import validate_config
from medi2i.data.attributes import AttributesConfig
from medi2i.errors import ConfigError

_TOLD = AttributesConfig(groups={"view": ("PA", "AP", "lateral"), "detector": ("CR", "DX")})


def test_the_domain_comes_first_and_each_value_has_one_bit():
    assert _TOLD.names == ("domain", "view", "detector")
    assert _TOLD.size == 2 + 3 + 2
    assert _TOLD.slices == {"domain": slice(0, 2), "view": slice(2, 5), "detector": slice(5, 7)}


def test_known_values_are_one_hot_and_unknown_ones_minus_one():
    code = _TOLD.encode({"domain": "target", "view": "AP", "detector": None, "vendor": "GE"})
    assert code.tolist() == [0, 1, 0, 1, 0, -1, -1]
    assert _TOLD.encode({"domain": "source", "view": "oblique"}).tolist() == [1, 0, -1, -1, -1, -1, -1]


def test_a_code_is_described_by_the_values_it_was_made_of():
    values = {"domain": "source", "view": "lateral", "detector": None}
    assert _TOLD.describe(_TOLD.encode(values)) == values
    soft = torch.tensor([0.3, 0.7, 0.1, 0.2, 0.7, 0.6, 0.4])
    assert _TOLD.describe(soft) == {"domain": "target", "view": "lateral", "detector": "CR"}


def test_without_a_list_every_combination_is_a_class():
    classes = _TOLD.classes()
    assert classes.shape == (2 * 3 * 2, 7)
    assert _TOLD.class_rows()[:2] == (("source", "PA", "CR"), ("source", "PA", "DX"))
    assert classes[1].tolist() == [1, 0, 1, 0, 0, 0, 1]
    assert AttributesConfig().classes().tolist() == [[1, 0], [0, 1]]


def test_classes_are_the_sensible_combinations():
    told = AttributesConfig(
        groups={"view": ("PA", "AP")}, sensible=(("source", None), ("target", "AP"), ("target", "PA"))
    )
    assert told.classes().tolist() == [[1, 0, -1, -1], [0, 1, 0, 1], [0, 1, 1, 0]]


def test_a_group_to_be_filled_in_has_no_bits_yet():
    told = AttributesConfig(groups={"view": ("PA", "AP"), "vendor": "auto"})
    assert told.unresolved == ("vendor",)
    assert told.size == 4
    assert told.describe(told.encode({"domain": "source", "vendor": "GE"}))["vendor"] is None
    assert told.classes().shape == (4, 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"groups": {"domain": ["a", "b"]}}, "'domain' is always told"),
        ({"groups": {"view": ["PA"]}}, "at least 2"),
        ({"groups": {"view": [str(n) for n in range(9)]}}, "at most 8"),
        ({"groups": {"view": ["PA", "PA"]}}, "view: a value named twice"),
        ({"groups": {"The View": ["PA", "AP"]}}, "pattern"),
        (
            {"groups": {"view": ["PA", "AP"]}, "sensible": [["source", "LL"]]},
            "has no value each of domain, view",
        ),
        ({"groups": {"view": ["PA", "AP"]}, "sensible": [["source"]]}, "has no value each of"),
        ({"sensible": [[None]]}, "has no value each of"),
        ({"sensible": [["source"], ["source"]]}, "a combination named twice"),
    ],
)
def test_wrong_groups_and_combinations_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        validate_config(values, AttributesConfig, "test")
