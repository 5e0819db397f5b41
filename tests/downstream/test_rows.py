import pytest

from medi2i.data.settings import FramingConfig
from medi2i.downstream.rows import adapt_segmenter, label_starts, plan_rows
from medi2i.downstream.settings import DownstreamConfig
from tests.segmentation.squares import tiny_config

WITHOUT = [
    "source only",
    "histogram",
    "randomisation",
    "framing + randomisation",
    "framing + randomisation + mean teacher",
]
WITH = [
    "adapter",
    "adapter + randomisation",
    "adapter + framing + randomisation",
    "adapter + framing + randomisation + mean teacher",
]


def plan(*, way_back: bool = True, **settings):
    return plan_rows(DownstreamConfig.model_validate(settings), way_back=way_back)


def test_the_table_has_each_technique_without_and_with_the_adapter_and_an_oracle():
    rows = plan(few_shot=[0, 5])
    assert [row.name for row in rows] == [
        *WITHOUT,
        *WITH,
        "few-shot 5",
        "adapter, few-shot 5",
        "oracle",
    ]
    base = {row.name: row.base for row in rows if row.adapter}
    assert base["adapter"] == "source only"
    assert base["adapter + framing + randomisation"] == "framing + randomisation"
    assert base["adapter, few-shot 5"] == "few-shot 5"
    assert len({row.slug for row in rows}) == len(rows)


def test_translated_films_have_segmenters_of_rows_without_the_adapter():
    rows = plan(protocol="translate-at-test")
    translated = [row for row in rows if row.protocol == "translate-at-test"]
    assert [row.name for row in translated] == [f"{name}, films translated" for name in WITH]
    assert [row.model for row in translated] == [row.base for row in translated]
    assert not any(row.trained for row in translated)
    assert not [row for row in rows if row.images == "translated"]
    assert [row.name for row in plan(protocol="both", way_back=False) if row.adapter] == WITH


def test_without_framing_there_are_no_rows_with_it():
    rows = plan(framing="none", few_shot=[1])
    assert [row.name for row in rows if not row.adapter] == [
        "source only",
        "histogram",
        "randomisation",
        "few-shot 1",
        "oracle",
    ]
    assert [row.name for row in label_starts(rows)] == ["randomisation", "adapter + randomisation"]


def test_techniques_are_all_that_segmenters_differ_in():
    config, framing = tiny_config(), FramingConfig(zoom=(0.7, 1.1))
    rows = {row.name: adapt_segmenter(config, row, framing) for row in plan()}
    plain, full = rows["source only"], rows["framing + randomisation"]
    assert (plain.appearance, plain.data.framing) == (None, None)
    assert (full.appearance, full.data.framing) == (config.appearance, framing)
    assert rows["randomisation"] == full.model_copy(update={"data": plain.data})
    assert rows["adapter + framing + randomisation"] == full
    assert {row.training.steps for row in rows.values()} == {config.training.steps}


@pytest.mark.parametrize("settings", [{"seeds": [0, 0]}, {"seeds": []}, {"folds": 1}])
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError, match=r"seed|folds"):
        DownstreamConfig.model_validate(settings)
