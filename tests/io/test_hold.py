"""One call at a time in a folder: who holds it is named, and a dead process holds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from medi2i.errors import OutputExistsError
from medi2i.io.hold import hold_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the system knows no such hold")

HOLDER = """
import sys, time
from pathlib import Path
from medi2i.io.hold import hold_folder
with hold_folder(Path(sys.argv[1]), alone=sys.argv[2] == "alone"):
    Path(sys.argv[1], "file").touch()
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def hold_elsewhere(tmp_path):
    """Another process that holds the folder; killed at the end."""
    begun = []

    def begin(how: str) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "out"), how]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert begun[-1].stdout.readline() == "held\n"
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def test_a_folder_that_another_process_holds_is_refused_until_it_dies(hold_elsewhere, tmp_path):
    holder = hold_elsewhere("alone")
    named = f"process {holder.pid}" if Path("/proc/locks").exists() else "another call"
    for alone in (True, False):
        with (
            pytest.raises(OutputExistsError, match=f"{named} that is writing there now"),
            hold_folder(tmp_path / "out", alone=alone),
        ):
            pass
    holder.kill()
    holder.wait()
    with hold_folder(tmp_path / "out"):
        assert (tmp_path / "out" / "file").exists()


def test_shares_hold_it_together_and_keep_a_whole_call_out(hold_elsewhere, tmp_path):
    hold_elsewhere("share")
    hold_elsewhere("share")
    with hold_folder(tmp_path / "out", alone=False):
        pass
    with pytest.raises(OutputExistsError), hold_folder(tmp_path / "out"):
        pass


def test_a_folder_that_stays_empty_is_not_left(tmp_path):
    with hold_folder(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with hold_folder(tmp_path / "old"):
        pass
    assert (tmp_path / "old").is_dir()


def test_where_nothing_can_be_made_the_writer_says_so(tmp_path):
    (tmp_path / "file").touch()
    with hold_folder(tmp_path / "file" / "out"):  # no error of its own
        pass
    with hold_folder(tmp_path / "file"):
        pass
    assert (tmp_path / "file").is_file()
