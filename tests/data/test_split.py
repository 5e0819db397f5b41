import pytest

from medi2i.data.manifest import ManifestRow
from medi2i.data.split import SplitConfig, assign_splits
from medi2i.errors import DatasetFolderError, NothingUsableError, SplitLeakError
from medi2i.image import IntensityMap


def make_row(number: int, patient: str | None = None, *, split: str = "", content: str = "") -> ManifestRow:
    return ManifestRow(
        id=f"source-{number:04d}",
        domain="source",
        file=f"{number}.png",
        output=f"{number}.png",
        sha256=content or f"hash-{number}",
        rows=8,
        columns=8,
        intensity=IntensityMap(0, 1),
        valid_fraction=1.0,
        patient=patient,
        split=split,
    )


def split_of(rows: list[ManifestRow], seed: int = 0) -> list[str]:
    return [row.split for row in assign_splits(rows, SplitConfig(), seed=seed)[0]]


def sides(rows: list[ManifestRow], splits: list[str], key: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row, split in zip(rows, splits, strict=True):
        found.setdefault(getattr(row, key), set()).add(split)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_no_patient_is_on_two_sides(seed):
    rows = [make_row(n, f"p{n % 7}") for n in range(40)]
    assert all(len(side) == 1 for side in sides(rows, split_of(rows, seed), "patient").values())


def test_fractions_are_of_patients():
    # 20 patients: a quarter is 5 for the test, 0.15 is 3 for validation, 12 remain; 3 images each
    splits = split_of([make_row(n, f"p{n % 20}") for n in range(60)])
    assert {name: splits.count(name) for name in set(splits)} == {"test": 15, "validation": 9, "train": 36}


@pytest.mark.parametrize("fraction", [0.01, 0.49])
@pytest.mark.parametrize("patients", [3, 4, 5, 10])
def test_every_side_has_an_image(fraction, patients):
    config = SplitConfig(validation_fraction=fraction, test_fraction=fraction)
    rows, _ = assign_splits([make_row(n, f"p{n}") for n in range(patients)], config, seed=1)
    assert {row.split for row in rows} == {"train", "validation", "test"}


def test_the_seed_decides():
    rows = [make_row(n, f"p{n}") for n in range(30)]
    assert split_of(rows, 1) == split_of(rows, 1)
    assert split_of(rows, 1) != split_of(rows, 2)


@pytest.mark.parametrize(("patients", "interval"), [(1, True), (2, False)])
def test_one_or_two_patients_are_split_by_image_with_a_warning(patients, interval):
    rows, warnings = assign_splits([make_row(n, f"p{n % patients}") for n in range(8)], SplitConfig(), seed=0)
    assert {row.split for row in rows} == {"train", "validation", "test"}
    assert len(warnings) == 1
    assert warnings[0].startswith(f"source: {patients} patient(s) in 8 images: split by image")
    assert ("no interval" in warnings[0]) is interval


def test_unknown_patients_count_one_each_and_are_said():
    rows, warnings = assign_splits([make_row(n) for n in range(8)], SplitConfig(), seed=0)
    assert warnings == ["source: patients unknown for all images: each of them counts as one patient"]
    _, warnings = assign_splits([make_row(n, "p" if n else None) for n in range(8)], SplitConfig(), seed=0)
    assert warnings[0] == "source: patients unknown for some images: each of them counts as one patient"
    assert all(row.split for row in rows)


@pytest.mark.parametrize("seed", range(10))
def test_identical_files_are_on_one_side_whatever_the_tables_say(seed):
    contents = {0: "twin", 5: "twin", 3: "other", 7: "other"}
    rows = [make_row(n, f"p{n}", content=contents.get(n, "")) for n in range(12)]
    assert all(len(side) == 1 for side in sides(rows, split_of(rows, seed), "sha256").values())


@pytest.mark.parametrize("seed", range(10))
def test_a_chain_of_twins_is_on_one_side(seed):
    # patient a shares a file with c, and b shares another with c: all three belong together
    rows = [make_row(0, "a", content="x"), make_row(1, "b", content="y")]
    rows += [make_row(2, "c", content="x"), make_row(3, "c", content="y")]
    rows += [make_row(n, f"p{n}") for n in range(4, 10)]
    assert len(set(split_of(rows, seed)[:4])) == 1


def test_the_users_split_is_kept():
    wanted = ["test", "train", "validation", "train"]
    rows = [make_row(n, f"p{n}", split=split) for n, split in enumerate(wanted)]
    assert assign_splits(rows, SplitConfig(), seed=0) == (rows, [])


def test_the_users_split_of_unknown_patients_is_kept_and_said():
    wanted = ["test", "train", "validation", "train"]
    rows = [make_row(n, split=split) for n, split in enumerate(wanted)]
    kept, warnings = assign_splits(rows, SplitConfig(), seed=0)
    assert kept == rows
    assert "patients unknown for all images" in warnings[0]


def test_a_patient_on_two_sides_of_the_users_split_is_a_leak():
    rows = [make_row(n, f"p{n % 3}", split=("train", "test", "validation", "test")[n]) for n in range(4)]
    with pytest.raises(SplitLeakError, match=r"^3\.png: one patient in 'train' and in 'test'"):
        assign_splits(rows, SplitConfig(), seed=0)


def test_an_image_on_two_sides_of_the_users_split_is_a_leak():
    wanted = ["train", "test", "validation", "test"]
    rows = [make_row(n, f"p{n}", split=wanted[n], content="twin" if n in (0, 1) else "") for n in range(4)]
    with pytest.raises(SplitLeakError, match=r"^1\.png: one image in 'train' and in 'test'"):
        assign_splits(rows, SplitConfig(), seed=0)


@pytest.mark.parametrize("missing", ["train", "validation", "test"])
def test_a_users_split_without_one_side_is_an_error(missing):
    names = [name for name in ("train", "validation", "test") if name != missing]
    rows = [make_row(n, f"p{n}", split=names[n % 2]) for n in range(6)]
    with pytest.raises(DatasetFolderError, match=f"no usable image with split '{missing}'"):
        assign_splits(rows, SplitConfig(), seed=0)


@pytest.mark.parametrize(
    "rows", [[], [make_row(0), make_row(1)], [make_row(n, content="x") for n in range(5)]]
)
def test_fewer_than_three_different_images_are_not_enough(rows):
    with pytest.raises(NothingUsableError, match=r"different usable image\(s\); expected at least 3"):
        assign_splits(rows, SplitConfig(), seed=0)
