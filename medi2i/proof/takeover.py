"""What two evaluations share, taken over from one to the other: trials, segmenters and scores."""

from __future__ import annotations

import shutil
from pathlib import Path

from medi2i.errors import UsageError
from medi2i.io.atomic import replace_folder_atomically, write_bytes_atomically

FOLDER = "evaluation"


def take_over(other: Path, run: Path) -> None:
    """Copy what another run's evaluation holds and this one's lacks.

    Whatever an evaluation keeps names what it was made from: settings, images, masks, films. So nothing is
    compared here; what doesn't fit this run is found out when it is asked for, and made anew.

    Args:
        other: run folder of a finished, or begun, evaluation.
        run: the run folder that is evaluated.

    Raises:
        UsageError: the other one has no evaluation, or is this one.
    """
    theirs, ours = other / FOLDER, run / FOLDER
    if not theirs.is_dir() or theirs.resolve() == ours.resolve():
        raise UsageError(
            f"--like {other}",
            found="this run itself" if theirs.is_dir() else "no evaluation/ in it",
            expected="another run, with labelled films evaluated",
            remedy="evaluate that one first, or drop --like",
        )
    # a folder that is there in part would not be looked at again, so each comes whole
    whole = [path.parent for path in theirs.glob("segmenters/**/model.json")]
    whole += [path for path in theirs.glob("controls/*") if path.is_dir()]
    for folder in whole:
        place = ours / folder.relative_to(theirs)
        if not place.exists():
            replace_folder_atomically(place, lambda new, folder=folder: _fill(folder, new))  # type: ignore[misc]
    for path in theirs.glob("scores/*/*.json"):
        place = ours / path.relative_to(theirs)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_atomically(place, path.read_bytes())


def _fill(folder: Path, new: Path) -> None:
    shutil.copytree(folder, new, dirs_exist_ok=True)
