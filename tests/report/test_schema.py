import json
from pathlib import Path

import pytest

from medi2i.errors import CheckpointError
from medi2i.report.results import Results, describe_schema, parse_results

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "results.schema.json"
EVALUATION = {"verdict", "valid", "gap_closed", "controls", "preservation", "realism", "downstream"}


def test_the_schema_in_the_documents_is_the_models():
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == describe_schema(), "run scripts/schema"


def test_verdict_validity_and_gap_are_the_first_keys_and_what_an_evaluation_adds_is_optional():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert list(schema["properties"])[:3] == ["verdict", "valid", "gap_closed"]
    assert set(schema["properties"]).issuperset(EVALUATION)
    assert not EVALUATION & set(schema["required"])


def test_results_with_and_without_an_evaluation_are_read_whole(results, evaluation):
    assert parse_results(results).downstream is None
    parsed = parse_results(evaluation)
    assert len(parsed.downstream.rows) == 13 and parsed.preservation.structures[2].kept == 54
    again = Results.model_validate_json(parsed.model_dump_json())
    assert again == parsed


def problems_of(value, schema, top, place="results"):
    """Where a value is not by a schema: the keywords that pydantic writes, read anew from the standard."""
    if "$ref" in schema:
        return problems_of(value, top["$defs"][schema["$ref"].removeprefix("#/$defs/")], top, place)
    if "anyOf" in schema:
        found = [problems_of(value, choice, top, place) for choice in schema["anyOf"]]
        return [] if any(not problems for problems in found) else found[0]
    if "const" in schema or "enum" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return [] if value in allowed else [f"{place}: {value!r} is none of {allowed}"]
    kind = schema.get("type")
    if kind is not None and not is_of_kind(value, kind):
        return [f"{place}: {value!r} is no {kind}"]
    found = [f"{place}.{key} is missing" for key in schema.get("required", ()) if key not in value]
    if isinstance(value, dict):
        rest = schema.get("additionalProperties", {})
        for key, inner in value.items():
            found += problems_of(inner, schema.get("properties", {}).get(key, rest), top, f"{place}.{key}")
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        for number, inner in enumerate(value):
            by = first[number] if number < len(first) else schema.get("items", {})
            found += problems_of(inner, by, top, f"{place}[{number}]")
    return found


def is_of_kind(value, kind):
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    if kind in ("integer", "number"):
        allowed = (int, float) if kind == "number" else int
        return isinstance(value, allowed) and not isinstance(value, bool)
    return isinstance(value, kinds[kind])


def test_the_results_of_a_real_run_and_of_an_evaluation_are_by_the_schema(identity_run, evaluation):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    real = json.loads((identity_run / "results.json").read_text(encoding="utf-8"))
    assert problems_of(real, schema, schema) == []
    assert problems_of(json.loads(json.dumps(evaluation)), schema, schema) == []
    real["run"]["seed"] = "7"
    del real["masks"]
    assert problems_of(real, schema, schema) == [
        "results.masks is missing",
        "results.run.seed: '7' is no integer",
    ]


def test_valid_is_false_exactly_when_the_verdict_is_invalid(evaluation):
    evaluation["valid"] = False
    with pytest.raises(CheckpointError, match="false exactly when the verdict is INVALID"):
        parse_results(evaluation)
    evaluation["verdict"]["name"] = "INVALID"
    assert parse_results(evaluation).valid is False


@pytest.mark.parametrize(
    ("section", "key", "found"),
    [
        ("verdict", "name", "verdict.name: Input should be 'use'"),
        ("controls", "state", "controls.state: Input should be 'passed'"),
        ("preservation", "unit", "preservation.unit: Input should be 'mm'"),
    ],
)
def test_words_that_the_page_does_not_know_are_refused(evaluation, section, key, found):
    evaluation[section][key] = "perhaps"
    with pytest.raises(CheckpointError, match=found):
        parse_results(evaluation)
