"""The checks of `scripts/trust` that take a moment are part of the tests."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "trust"


def run(name: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPTS / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_message_says_what_was_found_expected_and_to_be_done():
    ended = run("messages")
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) > 300
    assert all("; remedy " in line for line in ended.stdout.splitlines())


def test_a_message_without_a_remedy_is_found():
    script = runpy.run_path(str(SCRIPTS / "messages"))
    whole = {"found": "'a'", "expected": "'b'", "remedy": "'c'"}
    place = script["Place"]
    assert script["fault"](place("x.py", 1, "UsageError", whole, False)) is None
    assert "remedy" in script["fault"](place("x.py", 1, "UsageError", whole | {"remedy": "''"}, False))
    assert script["fault"](place("x.py", 1, "RuntimeError", {}, False)) == "raises RuntimeError"


def test_all_libraries_are_known_and_have_a_licence_that_is_allowed(tmp_path):
    ended = run("dependencies", "--out", tmp_path / "bill.json")
    assert ended.returncode == 0, ended.stderr
    bill = json.loads((tmp_path / "bill.json").read_text())
    names = {component["name"] for component in bill["components"]}
    assert {"torch", "monai", "pydicom", "nibabel", "simpleitk", "numpy", "typer"} <= names
    assert len(names) > 40


@pytest.mark.parametrize(
    ("licence", "refused"),
    [
        ("MIT", False),
        ("BSD-3-Clause AND 0BSD", False),
        ("MPL-2.0 AND MIT", False),
        ("GPL-2.0-only OR MIT", False),
        ("GNU General Public License v3 (GPLv3)", True),
        ("LGPL-3.0-or-later", True),
        ("AGPL-3.0", True),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", True),
        ("MIT AND GPL-3.0-only", True),
        ("Proprietary", True),
        ("", True),
    ],
)
def test_which_licences_are_refused(licence, refused):
    script = runpy.run_path(str(SCRIPTS / "dependencies"))
    assert script["refused"](script["Library"]("x", "1", licence, "medi2i")) is refused


@pytest.mark.skipif(not hasattr(os, "fork"), reason="jobs are forked")
def test_jobs_that_are_killed_go_on_to_the_same_bytes(tmp_path):
    """The quick edition of two hundred trials: training twice, translating, synthesising."""
    ended = run("kills", 4, "--seed", 5, "--out", tmp_path / "kills.json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "kills.json").read_text())
    assert found["outcomes"] == {"train: the same": 2, "translate: the same": 1, "synthesize: the same": 1}
