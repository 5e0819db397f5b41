import shutil

from tiny_data import make_masks, write_patients

from medi2i import adapt
from medi2i.data.manifest import read_manifest
from medi2i.errors import MaskMismatchError, NothingUsableError, SameDomainError, SplitLeakError
from medi2i.io.masks import write_mask_nifti
from tests.adaptation.jobs import check_error, histogram


def test_splits_follow_patients_and_salts_differ_between_runs(finished_run, identity_run):
    runs = [read_manifest(run / "manifest.jsonl") for run in (finished_run, identity_run)]
    for rows in runs:
        sides: dict[str, set[str]] = {}
        for row in rows:
            sides.setdefault(row.patient, set()).add(row.split)
        assert len(sides) == 6 + 12
        assert all(len(side) == 1 for side in sides.values())
    assert not {row.patient for row in runs[0]} & {row.patient for row in runs[1]}


def test_the_users_split_is_the_runs_split(own_domains, tmp_path):
    wanted = ["test", "validation", "train"] * 4
    rows = [(f"film_{n:02d}.png", f"p{n}", split) for n, split in enumerate(wanted)]
    write_patients(own_domains / "tgt", rows, "file,patient,split")
    adapt(histogram(own_domains), out=tmp_path / "run", device="cpu")
    manifest = read_manifest(tmp_path / "run" / "manifest.jsonl")
    assert [row.split for row in manifest if row.domain == "target"] == wanted


def test_a_patient_on_both_sides_is_an_error_before_anything_is_written(own_domains, tmp_path):
    rows = [(f"film_{n:02d}.png", "p", ("test", "validation", "train")[n % 3]) for n in range(12)]
    write_patients(own_domains / "tgt", rows, "file,patient,split")
    check_error(SplitLeakError, histogram(own_domains), tmp_path / "run", "one patient in")


def test_masks_of_the_wrong_size_are_an_error_before_anything_is_written(own_domains, tmp_path):
    mask = own_domains / "src" / "masks" / "drr_07.nii.gz"
    write_mask_nifti(mask, make_masks((32, 32)), spacing_mm=None)
    check_error(MaskMismatchError, histogram(own_domains), tmp_path / "run", r"drr_07\.nii\.gz.*32 x 40")


def test_the_same_files_on_both_sides_are_an_error(own_domains, tmp_path):
    shutil.copy(own_domains / "src" / "images" / "drr_00.png", own_domains / "tgt" / "another_name.png")
    check_error(SameDomainError, histogram(own_domains), tmp_path / "run", r"1 image\(s\) with the same")


def test_too_few_images_are_an_error(own_domains, tmp_path):
    for path in sorted((own_domains / "tgt").glob("*.png"))[2:]:
        path.unlink()
    check_error(
        NothingUsableError, histogram(own_domains), tmp_path / "run", "the target domain: 2 different"
    )
