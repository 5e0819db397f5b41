"""The folders of a suite's data sets; phantoms are made once."""

from __future__ import annotations

import csv
import shutil
from io import StringIO
from pathlib import Path

from medi2i.benchmarks.folders import Folders
from medi2i.benchmarks.suite import DataSet
from medi2i.config import dump_config, load_config
from medi2i.data.split import SplitConfig
from medi2i.drr.phantom import PhantomConfig, write_phantom_dataset
from medi2i.errors import ConfigError, OutputExistsError
from medi2i.io.atomic import write_text_atomically
from medi2i.training.interruption import StopRequest
from medi2i.training.progress import Progress

_MARK = "phantom.yaml"  # written last: what was made, and that it is complete
_REMEDY = "run the same command again"


def find_folders(name: str, data: DataSet, out: Path) -> Folders:
    """Folders of a data set, absolute; those of a phantom may not exist yet.

    Raises:
        ConfigError: a folder is not given.
    """
    films = None if data.films is None else Path(data.films).resolve()
    if data.phantom is not None:
        root = (out / "data" / name).resolve()
        return Folders(root / "drr", root / "xray", root / "truth", films, is_made=True)
    for key, value in (("source", data.source), ("target", data.target)):
        if value is None:
            raise ConfigError(
                f"data.{name}.{key}",
                found="nothing",
                expected="a folder",
                remedy=f"give it with --set data.{name}.{key}=DIR",
            )
    truth = None if data.truth is None else Path(data.truth).resolve()
    return Folders(Path(data.source or "").resolve(), Path(data.target or "").resolve(), truth, films)


def make_phantom(name: str, data: DataSet, out: Path, *, shard: tuple[int, int], stop: StopRequest) -> None:
    """Render a phantom data set unless it is there; its patients' splits are written into its tables.

    Shards that share a folder may do so at the same time: each renders its own, and the first one stays.

    Raises:
        OutputExistsError: another phantom is there.
        InterruptedRunError: a stop was requested; nothing is left.
    """
    if data.phantom is None:
        return
    wanted, folder = data.phantom.load(), out / "data" / name
    require_same_phantom(name, data, out)
    if (folder / _MARK).is_file():
        return
    making = out / "data" / f".making-{name}-{shard[0]}"
    shutil.rmtree(making, ignore_errors=True)
    progress = Progress(f"phantom '{name}'", _views(wanted))

    def tick(done: int, total: int) -> None:
        progress.advance()
        stop.raise_if_requested(str(out), _REMEDY)

    try:
        write_phantom_dataset(wanted, making, tick)
        for domain in ("drr", "xray", "truth"):
            _fix_splits(making / domain / "patients.csv")
        write_text_atomically(making / _MARK, dump_config(wanted))
        _move(making, folder)
    finally:
        progress.close()
        shutil.rmtree(making, ignore_errors=True)


def require_same_phantom(name: str, data: DataSet, out: Path) -> None:
    """Refuse a phantom of other settings than the suite's.

    Raises:
        OutputExistsError: such a one is there.
    """
    mark = out / "data" / name / _MARK
    if data.phantom is not None and mark.is_file():
        _require_same(load_config(mark, PhantomConfig), data.phantom.load(), mark.parent)


def _move(making: Path, folder: Path) -> None:
    try:
        making.rename(folder)
    except OSError:  # another shard was first
        if not (folder / _MARK).is_file():
            raise


def _views(config: PhantomConfig) -> int:
    return (config.source_patients + config.target_patients) * config.views_per_patient


def _require_same(there: PhantomConfig, wanted: PhantomConfig, folder: Path) -> None:
    if there.model_copy(update={"workers": wanted.workers}) != wanted:
        raise OutputExistsError(
            folder,
            found="a phantom of other settings",
            expected="the one that the suite describes",
            remedy="choose another --out, or undo the change of the suite",
        )


def _fix_splits(table: Path) -> None:
    """Add the column `split`: patients in their order, the last ones for test, those before to validate."""
    rows = list(csv.DictReader(StringIO(table.read_text(encoding="utf-8"))))
    order = list(dict.fromkeys(row["patient"] for row in rows))
    shares = SplitConfig()
    n_test = max(1, round(shares.test_fraction * len(order)))
    n_validation = max(1, round(shares.validation_fraction * len(order)))
    n_train = len(order) - n_test - n_validation
    names = ["train"] * n_train + ["validation"] * n_validation + ["test"] * n_test
    split_of = dict(zip(order, names, strict=True))
    lines = [f"{row['file']},{row['patient']},{split_of[row['patient']]}\n" for row in rows]
    write_text_atomically(table, "".join(["file,patient,split\n", *lines]))
