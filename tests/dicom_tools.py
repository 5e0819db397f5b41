"""Other people's DICOM tools that judge what was written; a test that needs one skips where it is absent."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

# Debian's dicom3tools is of June 2022; its dictionary lacks SyntheticData, which its exit code doesn't count
UNKNOWN_TO_IT = "Error - </(0008,001c)> - Attribute with an even group number is not a recognized standard"


def need(tool: str, package: str) -> None:
    """Skip where a program isn't installed."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed (Debian: apt install {package})")


def validation_errors(path: Path) -> list[str]:
    """What dicom3tools' validator has against an object; its exit status must agree."""
    need("dciodvfy", "dicom3tools")
    ended = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (ended.stdout + ended.stderr).splitlines()
    errors = [line for line in lines if line.startswith("Error") and not line.startswith(UNKNOWN_TO_IT)]
    assert (ended.returncode != 0) == bool(errors), lines
    return errors


def dump(path: Path) -> str:
    """The object as dcmtk prints it, without a complaint."""
    need("dcmdump", "dcmtk")
    ended = subprocess.run(["dcmdump", str(path)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def render(path: Path, picture: Path) -> np.ndarray:
    """(H, W) the object as dcmtk draws it with its stored window, 8 bit."""
    from PIL import Image

    need("dcmj2pnm", "dcmtk")
    command = ["dcmj2pnm", "--use-window", "1", "--write-raw-pnm", str(path), str(picture)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    with Image.open(picture) as image:
        return np.array(image)
