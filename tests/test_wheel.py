"""The wheel is complete: unpacked far from the clone, it runs a command with no config."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tiny_data import write_source, write_target

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("medi2i-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_every_preset_template_and_the_typing_mark(unpacked):
    presets = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    packed = {path.relative_to(unpacked / "medi2i").as_posix() for path in unpacked.rglob("*.yaml")}
    assert packed == presets
    for kind in ("*.py", "*.j2", "py.typed"):
        wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "medi2i").rglob(kind)}
        assert wanted <= {path.relative_to(unpacked).as_posix() for path in unpacked.rglob(kind)}
    assert not list(unpacked.glob("tests")) and not list(unpacked.glob("configs"))


def test_a_command_runs_from_the_wheel_with_no_config(unpacked, tmp_path):
    domains = ["--src", str(write_source(tmp_path / "src")), "--tgt", str(write_target(tmp_path / "tgt"))]
    command = ["medi2i", "adapt", *domains, "--method", "histogram", "--device", "cpu", "--dry-run"]
    script = (
        "import sys, medi2i, medi2i.config as config\n"
        "print('package:', medi2i.__file__)\n"
        "print('preset:', config.find_preset('histogram', 'adapt'))\n"
        f"sys.argv = {command!r}\n"
        "from medi2i.cli import main\n"
        "main()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert f"package: {unpacked / 'medi2i' / '__init__.py'}" in ended.stdout
    assert f"preset: {unpacked / 'medi2i' / 'configs' / 'adapt' / 'histogram.yaml'}" in ended.stdout
    assert "method: histogram" in ended.stdout
    assert not (tmp_path / "runs").exists()
