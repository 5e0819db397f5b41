import errno
import os
from pathlib import Path

import pytest

from medi2i.errors import DiskFullError, EnvironmentProblemError
from medi2i.io.atomic import (
    append_line,
    replace_folder_atomically,
    restore_folders,
    sweep_unfinished,
    write_atomically,
    write_stream_atomically,
    write_text_atomically,
)


def fail(error):
    def writer(path):
        if path.is_dir():
            (path / "part").write_text("half")
        else:
            path.write_text("half")
        raise error

    return writer


def fill(name, text):
    def writer(folder):
        (folder / name).write_text(text)

    return writer


def test_the_text_is_there_and_nothing_else(tmp_path):
    write_text_atomically(tmp_path / "new" / "results.json", "µ")
    assert (tmp_path / "new" / "results.json").read_bytes() == "µ".encode()
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["results.json"]


def test_the_writer_gets_a_hidden_name_that_ends_alike(tmp_path):
    seen = []

    def write(path):
        seen.append(path)
        path.write_text("x")

    write_atomically(tmp_path / "a.nii.gz", write)
    assert seen[0].name.startswith(".") and seen[0].name.endswith("a.nii.gz") and seen[0].parent == tmp_path


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_the_old_file_and_names_path_and_need(tmp_path, number):
    path = tmp_path / "state.json"
    path.write_text("old")
    with pytest.raises(DiskFullError, match=r"state\.json.*1,234,567 free bytes"):
        write_atomically(path, fail(OSError(number, "full")), bytes_needed=1_234_567)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "state.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail(KeyboardInterrupt()))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_parent_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblemError, match="choose another output folder"):
        write_text_atomically(tmp_path / "file" / "a.txt", "x")


def test_new_files_have_the_rights_that_the_umask_leaves(tmp_path):
    old = os.umask(0o022)
    try:
        write_text_atomically(tmp_path / "a.txt", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "step-1"
    replace_folder_atomically(folder, fill("old", "1"))
    replace_folder_atomically(folder, fill("new", "2"))
    assert [entry.name for entry in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_survives_a_failed_replacement(tmp_path):
    folder = tmp_path / "step-1"
    replace_folder_atomically(folder, fill("old", "1"))
    with pytest.raises(DiskFullError, match="step-1"):
        replace_folder_atomically(folder, fail(OSError(errno.ENOSPC, "full")))
    assert (folder / "old").read_text() == "1"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_moved_aside_by_a_crash_comes_back(tmp_path):
    replaced = tmp_path / ".medi2i-replaced-step-1"
    replaced.mkdir()
    (replaced / "weights").write_text("1")
    assert restore_folders(tmp_path) == [tmp_path / "step-1"]
    assert (tmp_path / "step-1" / "weights").read_text() == "1"


def test_unfinished_files_and_folders_are_swept(tmp_path):
    (tmp_path / ".medi2i-unfinished-ab-x.json").write_text("half")
    (tmp_path / ".medi2i-unfinished-cd-step").mkdir()
    (tmp_path / "kept").write_text("")
    assert len(sweep_unfinished(tmp_path)) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_lines_are_appended_and_half_of_one_goes_first(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    append_line(path, "one")
    append_line(path, "zwei ö")
    path.write_bytes(path.read_bytes() + b"x" * 200_000)  # longer than what is read at once
    append_line(path, "three")
    assert path.read_text(encoding="utf-8").splitlines() == ["one", "zwei ö", "three"]
    path.write_bytes(b"only half")
    append_line(path, "first")
    assert path.read_bytes() == b"first\n"


def test_a_line_on_a_full_disk_is_explained(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    append_line(path, "one")

    def full(self, *arguments):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskFullError, match=r"log\.jsonl.*4 free bytes"):
        append_line(path, "two")
    monkeypatch.undo()
    assert path.read_text() == "one\n"


def test_a_stream_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "table.csv"
    write_stream_atomically(path, (f"{number}\n" for number in range(3)))

    def breaks():
        yield "other\n"
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(DiskFullError):
        write_stream_atomically(path, breaks())
    assert path.read_text() == "0\n1\n2\n"
    assert list(tmp_path.iterdir()) == [path]
