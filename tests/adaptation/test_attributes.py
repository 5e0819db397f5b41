import json
from dataclasses import replace

import pytest
import yaml

from medi2i import adapt, describe_job, load_run_config
from medi2i.adaptation import AdaptConfig
from medi2i.adaptation.attributes import describe_attributes, resolve_config, told_attributes
from medi2i.data.attributes import AttributesConfig
from medi2i.data.manifest import read_manifest
from medi2i.errors import DatasetFolderError, NothingUsableError
from medi2i.training.checkpoint import load_checkpoint
from tests.adaptation.jobs import check_error
from tests.evaluation.rows import make_row

AUTO = {"view": "auto", "vendor": "auto"}


def write_views(folder, views, *, names, column="view"):
    lines = [f"file,{column}", *(f"{name},{view}" for name, view in zip(names, views, strict=True))]
    (folder / "attributes.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def told_domains(own_domains):
    """Every DRR is PA; films are PA, AP, or unknown."""
    (own_domains / "src" / "dataset.json").write_text(
        json.dumps({"structures": ["heart", "lung"], "attributes": {"view": "PA"}})
    )
    write_views(own_domains / "tgt", ["PA", "AP", ""] * 4, names=[f"film_{n:02d}.png" for n in range(12)])
    return own_domains


def make_job(folder, groups=AUTO, **values):
    return AdaptConfig.model_validate(
        {
            "source": str(folder / "src"),
            "target": str(folder / "tgt"),
            "adapter": {
                "name": "matchgan",
                "attributes": {"groups": groups},
                "generator": {"width": 2, "blocks": 1},
                "discriminator": {"width": 2, "layers": 2},
            },
            "data": {"working_size": 32, "crop_size": 32},
            "training": {"steps": 3, "batch_size": 4, "validate_every": 2, "log_every": 1},
            "evaluation": {"feature_size": 64, "floor_repeats": 10, "worst": 1},
        }
        | values
    )


def test_a_run_is_told_what_its_training_images_have_and_resumes_with_it(told_domains, tmp_path):
    out = tmp_path / "run"
    result = adapt(make_job(told_domains), out=out, device="cpu")
    attributes = load_run_config(out).adapter.attributes
    assert set(attributes.groups) == {"view"}  # no image has a vendor
    assert set(attributes.groups["view"]) == {"PA", "AP"}
    assert set(attributes.sensible) == {("source", "PA"), ("target", "PA"), ("target", "AP")}
    assert load_checkpoint(out / "checkpoints").state["adapter"]["attributes"] == attributes.model_dump(
        mode="json"
    )
    rows = read_manifest(out / "manifest.jsonl")
    assert [row.attributes for row in rows if row.domain == "target"] == [
        {"view": "PA"},
        {"view": "AP"},
        {},
    ] * 4
    assert result.results["data"]["source"]["attributes"] == {"view": {"PA": 12}}
    assert result.results["data"]["target"]["attributes"] == {"view": {"PA": 4, "AP": 4, "unknown": 4}}
    assert "PA (4), AP (4), unknown (4)" in (out / "report.html").read_text()
    assert any("vendor: fewer than two values" in warning for warning in result.results["warnings"])

    before = (out / "config.yaml").read_bytes()
    (out / "translated" / "images" / "drr_03.png").unlink()
    adapt(load_run_config(out), out=out, resume=True, device="cpu")
    assert (out / "config.yaml").read_bytes() == before
    assert (out / "translated" / "images" / "drr_03.png").is_file()


def test_a_plan_counts_the_parameters_of_the_groups_that_are_filled_in(told_domains, tmp_path):
    job = make_job(told_domains, {"view": "auto"})
    plan = describe_job(job, out=tmp_path / "run", device="cpu")
    filled = make_job(told_domains, {"view": ["PA", "AP"]}).adapter.build(seed=0)
    assert plan["trains"]["parameters"] == sum(p.numel() for p in filled.parameters())
    assert plan["trains"]["parameters"] != sum(p.numel() for p in job.adapter.build(seed=0).parameters())
    assert not (tmp_path / "run").exists()


def test_a_value_that_an_explicit_group_lacks_is_an_error_before_anything_is_read(told_domains, tmp_path):
    job = make_job(told_domains, {"view": ["PA", "ap"]})
    check_error(
        DatasetFolderError, job, tmp_path / "run", r"view 'AP' of 'film_01\.png'.*did you mean 'ap'\?"
    )


def test_a_domain_without_a_labelled_image_is_an_error(told_domains, tmp_path):
    names = [f"film_{n:02d}.png" for n in range(12)]
    lines = [f"{name},{'PA' if n % 2 else ''},{'' if n % 2 else 'erect'}" for n, name in enumerate(names)]
    (told_domains / "tgt" / "attributes.csv").write_text("\n".join(["file,view,posture", *lines]) + "\n")
    job = make_job(told_domains, {"view": ["PA", "AP"], "posture": ["erect", "supine"]})
    check_error(NothingUsableError, job, tmp_path / "run", "all of view, posture are known")


def test_methods_that_are_told_nothing_stay_as_they_are(told_domains, tmp_path):
    job = AdaptConfig.model_validate({"adapter": {"name": "identity"}})
    assert told_attributes(job) is None
    rows = {"source": [make_row(0)], "target": [make_row(0)]}
    assert resolve_config(job, rows) is job
    assert describe_attributes(job, rows) == []


def test_a_filled_in_configuration_is_left_as_it_is(tmp_path):
    told = {"view": ["PA", "AP"]}
    sensible = [["source", "PA"], ["target", "AP"]]
    job = make_job(tmp_path, told)
    attributes = AttributesConfig.model_validate({"groups": told, "sensible": sensible})
    job = job.model_copy(update={"adapter": job.adapter.model_copy(update={"attributes": attributes})})
    rows = {"source": [make_row(0)], "target": [make_row(1)]}
    assert resolve_config(job, rows) == job
    assert yaml.safe_load(yaml.safe_dump(attributes.model_dump(mode="json")))["sensible"] == sensible


def test_values_that_a_group_lacks_are_counted_and_unknown_groups_named(tmp_path):
    job = make_job(tmp_path, {"view": ["PA", "AP"], "vendor": ["GE", "Fuji"]})
    views = ("PA", "oblique", "oblique", "lateral")
    known = [make_row(n, split="train", attributes={"view": view}) for n, view in enumerate(views)]
    rows = {"source": known[:1], "target": [replace(row, domain="target") for row in known]}
    warnings = describe_attributes(job, rows)
    assert warnings == [
        "view: 3 image(s) with a value that the group lacks, the commonest 'oblique': unknown to the method",
        "vendor: unknown for all training images, so the method learns nothing of it",
    ]
