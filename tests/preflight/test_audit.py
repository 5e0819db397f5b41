"""The audit names what was planted, and nothing else; of clean sets it has nothing to say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_sets import (
    PATIENTS,
    Domains,
    change,
    collimate,
    copy_otherwise,
    crop_mask,
    edit_json,
    empty_mask,
    invert,
    load,
    save,
    to_eight_bit,
    write_text,
)

from medi2i.errors import NothingUsableError
from medi2i.preflight import Audit, AuditConfig, AuditRecord, audit

QUICK = AuditConfig(framing_films=0)


def faults_of(result: Audit) -> set[str]:
    """Codes of warnings and errors."""
    return {finding.code for finding in result.findings if finding.severity != "info"}


def ids_of(result: Audit, code: str) -> tuple[str, ...]:
    return next(finding.ids for finding in result.findings if finding.code == code)


def look(domains: Domains) -> Audit:
    return audit(domains.source, domains.target, config=QUICK)


def structures_of(domains: Domains) -> list[str]:
    return json.loads((domains.source / "dataset.json").read_text())["structures"]


def write_patients(domains: Domains, patients: list[str], splits: list[str] | None = None) -> None:
    rows = [f"{path.name},{patient}" for path, patient in zip(domains.films, patients, strict=True)]
    head = "file,patient"
    if splits is not None:
        rows, head = [f"{row},{s}" for row, s in zip(rows, splits, strict=True)], head + ",split"
    (domains.target / "patients.csv").write_text("\n".join([head, *rows]) + "\n")


# clean sets


def test_nothing_is_said_against_clean_phantoms_and_their_framing_agrees(domains):
    result = audit(domains.source, domains.target, config=AuditConfig(framing_films=2))
    assert faults_of(result) == set()
    assert {"framing", "few-patients"} <= {finding.code for finding in result.findings}
    assert "Nothing was found" in result.record.forecast[-1]


def test_nothing_is_said_against_eight_bit_films_of_another_matrix_without_spacing(domains):
    for path in domains.films:
        change(path, lambda pixels: to_eight_bit(copy_otherwise(pixels)))
    for name in ("views.json", "dataset.json"):
        (domains.target / name).unlink()
    shutil.rmtree(domains.target / "valid", ignore_errors=True)  # of the old matrix
    result = look(domains)
    assert faults_of(result) == set()
    assert (result.record.target.bits, result.record.target.spacing_mm) == ({"8": PATIENTS}, None)


def test_nothing_is_said_against_masks_in_both_domains(domains, phantoms):
    given = phantoms / "frontal" / "xray_masks"
    shutil.copytree(given / "masks", domains.target / "masks")
    edit_json(domains.target / "dataset.json", structures=structures_of(domains))
    result = look(domains)
    assert faults_of(result) == set()
    assert result.record.target.structures["left_lung"] == 1


# one fault each


def test_an_inverted_film_is_named(domains):
    change(domains.films[3], invert)
    result = look(domains)
    assert faults_of(result) == {"inverted-image"}
    assert ids_of(result, "inverted-image") == ("target-0003",)


def test_an_inverted_domain_is_named(domains):
    for path in domains.films:
        change(path, invert)
    assert "polarity-differs" in faults_of(look(domains))


def test_a_lateral_among_frontal_films_is_named(domains, phantoms):
    lateral = next((phantoms / "lateral" / "xray" / "images").glob("*.png"))
    save(domains.films[2], load(lateral))
    result = look(domains)
    assert faults_of(result) == {"unlike-others"}
    assert ids_of(result, "unlike-others") == ("target-0002",)


def test_a_lateral_is_named_by_what_the_tables_say(domains):
    rows = [f"{path.name},{'lateral' if n == 4 else 'PA'}" for n, path in enumerate(domains.films)]
    (domains.target / "attributes.csv").write_text("\n".join(["file,view", *rows]) + "\n")
    result = look(domains)
    assert faults_of(result) == {"mixed-views"}
    assert ids_of(result, "mixed-views") == ("target-0004",)


def test_a_patient_on_two_sides_of_the_split_is_named(domains):
    patients = [f"p{number}" for number in range(PATIENTS)]
    patients[9] = patients[0]
    write_patients(domains, patients, ["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    result = look(domains)
    assert faults_of(result) == {"patient-in-two-splits"}
    assert ids_of(result, "patient-in-two-splits") == ("target-0000", "target-0009")


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_copy_of_an_image_under_another_patient_is_named(domains, mirrored):
    step = -1 if mirrored else 1
    save(domains.films[7], copy_otherwise(load(domains.films[1])[:, ::step]))
    result = look(domains)
    assert faults_of(result) == {"near-duplicate"}
    assert ids_of(result, "near-duplicate") == ("target-0001", "target-0007")


def test_a_copy_on_the_other_side_of_the_split_is_named(domains):
    save(domains.films[9], copy_otherwise(load(domains.films[0])))
    patients = [f"p{number}" for number in range(PATIENTS)]
    write_patients(domains, patients, ["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    assert faults_of(look(domains)) == {"duplicate-across-splits"}


def test_a_spacing_in_centimetres_is_named(domains):
    (domains.target / "views.json").unlink()
    edit_json(domains.target / "dataset.json", spacing_mm=[0.3, 0.3])
    result = look(domains)
    assert faults_of(result) == {"implausible-spacing"}
    assert len(ids_of(result, "implausible-spacing")) == PATIENTS


def test_a_collimated_film_is_named(domains):
    change(domains.films[5], collimate)
    result = look(domains)
    assert "collimated" in faults_of(result)
    assert ids_of(result, "collimated") == ("target-0005",)


def test_burned_in_text_is_named(domains):
    change(domains.films[6], write_text)
    result = look(domains)
    assert faults_of(result) == {"burned-in-text"}
    assert ids_of(result, "burned-in-text") == ("target-0006",)


def test_a_film_of_another_bit_depth_is_named(domains):
    change(domains.films[0], to_eight_bit)
    result = look(domains)
    assert faults_of(result) == {"mixed-bit-depth"}
    assert ids_of(result, "mixed-bit-depth") == ("target-0000",)


def test_a_constant_image_is_named(domains):
    change(domains.films[8], lambda pixels: np.full_like(pixels, 30000))
    result = look(domains)
    assert faults_of(result) == {"constant-image"}
    assert ids_of(result, "constant-image") == ("target-0008",)


def test_masks_of_another_size_are_named(domains):
    crop_mask(domains.masks[2], len(structures_of(domains)))
    result = look(domains)
    assert faults_of(result) == {"mask-unusable"}
    assert ids_of(result, "mask-unusable") == ("source-0002",)


def test_empty_masks_are_named(domains):
    empty_mask(domains.masks[4], len(structures_of(domains)))
    result = look(domains)
    assert faults_of(result) == {"masks-empty"}
    assert ids_of(result, "masks-empty") == ("source-0004",)


def test_swapped_folders_are_named(domains):
    assert faults_of(audit(domains.target, domains.source, config=QUICK)) == {"domains-swapped"}


def test_the_same_images_in_both_domains_are_named(domains):
    shutil.copy(domains.films[0], domains.source / "images" / "p0000_v0.png")
    assert "same-images" in faults_of(look(domains))


def test_one_patient_only_is_named(domains):
    write_patients(domains, ["p"] * PATIENTS)
    assert faults_of(look(domains)) == {"one-patient"}


def test_unknown_patients_are_named(domains):
    for name in ("patients.csv", "views.json"):
        (domains.target / name).unlink()
    assert faults_of(look(domains)) == {"patients-unknown"}


def test_missing_masks_are_named_and_the_other_domain_is_still_looked_at(domains):
    domains.masks[0].unlink()
    change(domains.films[3], invert)
    result = look(domains)
    assert faults_of(result) == {"folder-unusable", "inverted-image"}
    assert not result.usable


def test_lungs_of_another_definition_are_named(domains, phantoms):
    """Film lungs end at the dome and at the spine; here the middle fifth of the image is taken from them."""
    from medi2i.io.masks import read_mask_nifti, write_mask_nifti

    structures = structures_of(domains)
    (domains.target / "masks").mkdir()
    for path in sorted((phantoms / "frontal" / "xray_masks" / "masks").iterdir()):
        planes = read_mask_nifti(path, tuple(structures)).copy()
        planes[:2, :, 51:77] = False
        write_mask_nifti(domains.target / "masks" / path.name, planes, spacing_mm=(3.0, 3.0))
    edit_json(domains.target / "dataset.json", structures=structures)
    assert faults_of(look(domains)) == {"lung-definition"}


def test_a_structure_that_one_domain_hardly_shows_is_named(domains, phantoms):
    from medi2i.io.masks import read_mask_nifti, write_mask_nifti

    structures = structures_of(domains)
    heart = structures.index("heart")
    (domains.target / "masks").mkdir()
    files = sorted((phantoms / "frontal" / "xray_masks" / "masks").iterdir())
    for number, path in enumerate(files):
        planes = read_mask_nifti(path, tuple(structures)).copy()
        planes[heart] &= number < 4
        write_mask_nifti(domains.target / "masks" / path.name, planes, spacing_mm=(3.0, 3.0))
    edit_json(domains.target / "dataset.json", structures=structures)
    result = look(domains)
    assert faults_of(result) == {"prevalence-differs"}
    assert "heart 100% and 40%" in result.findings[0].message


# what is written


def test_the_record_names_no_file_and_no_patient(domains, tmp_path):
    change(domains.films[3], invert)
    audit(domains.source, domains.target, out=tmp_path / "out", config=QUICK)
    text = (tmp_path / "out" / "audit.json").read_text()
    record = AuditRecord.model_validate_json(text)
    assert record.findings[0].code == "inverted-image"
    assert record.findings[0].ids == ("target-0003",)
    page = (tmp_path / "out" / "audit.md").read_text()
    for word in (".png", "p0001", "p0010", str(tmp_path)):
        assert word not in text
        assert word not in page
    lines = [json.loads(line) for line in (tmp_path / "out" / "images.jsonl").read_text().splitlines()]
    assert {"id": "target-0003", "domain": "target", "file": f"images/{domains.films[3].name}"} in lines
    assert len(lines) == 2 * PATIENTS


def test_the_schema_in_the_documents_is_the_record_s():
    schema = Path(__file__).resolve().parents[2] / "docs" / "audit.schema.json"
    assert json.loads(schema.read_text()) == AuditRecord.model_json_schema()


def test_an_empty_folder_ends_the_audit(domains, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingUsableError, match="no image"):
        audit(domains.source, tmp_path / "empty")


def test_the_command_prints_findings_first_and_ends_with_0(domains, run_cli):
    change(domains.films[3], invert)
    ended = run_cli("audit", "--src", domains.source, "--tgt", domains.target, "--framing-films", 0)
    assert ended.code == 0
    assert ended.out.startswith("0 error(s), 1 warning(s)")
    assert f"target-0003 (images/{domains.films[3].name})" in " ".join(ended.out.split())
    assert ended.out.index("inverted-image") < ended.out.index("What can go wrong:")


def test_the_command_ends_with_4_where_nothing_can_be_used(domains, run_cli):
    for path in domains.films:
        path.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    ended = run_cli("audit", "--src", domains.source, "--tgt", domains.target, "--framing-films", 0)
    assert ended.code == 4
    assert "unreadable" in ended.out
