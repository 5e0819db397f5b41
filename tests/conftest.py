"""Tiny data and one finished tiny run that the tests of the stages share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves helper modules unfound


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what was wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `medi2i` in this process: `run_cli("adapt", "--src", path)`."""

    def run(*arguments: object) -> Ended:
        from medi2i.cli import main

        monkeypatch.setattr(sys, "argv", ["medi2i", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        code = left.value.code
        return Ended(code if isinstance(code, int) else int(code is not None), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def domains_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only: `src` (DRRs with masks), `tgt` (films), `tiny.yaml`."""
    from tiny_data import write_source, write_target, write_tiny_config

    folder = tmp_path_factory.mktemp("domains")
    write_source(folder / "src")
    write_target(folder / "tgt")
    write_tiny_config(folder / "tiny.yaml")
    return folder


@pytest.fixture(scope="session")
def finished_run(domains_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only: the run folder of a tiny CycleGAN."""
    from medi2i.adaptation import AdaptConfig, adapt
    from medi2i.config import load_config

    out = tmp_path_factory.mktemp("runs") / "tiny"
    folders = {"source": str(domains_folder / "src"), "target": str(domains_folder / "tgt")}
    config = load_config(domains_folder / "tiny.yaml", AdaptConfig).model_copy(update=folders)
    adapt(config, out=out, device="cpu")
    return out


@pytest.fixture(scope="session")
def identity_run(domains_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only: the run folder of the identity."""
    from medi2i.adaptation import adapt, choose_config

    out = tmp_path_factory.mktemp("runs") / "identity"
    folders = {"source": str(domains_folder / "src"), "target": str(domains_folder / "tgt")}
    config = choose_config("identity", None, ["evaluation.feature_size=64"], "cpu")
    adapt(config.model_copy(update=folders), out=out, device="cpu")
    return out


@pytest.fixture
def copied_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def shared_data() -> Path:
    """Folder of the shared real data."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MEDI2I_TEST_DATA", default))
    if not (folder / "drr_chest").is_dir():
        pytest.skip(f"shared real data is not at {folder}; set MEDI2I_TEST_DATA")
    return folder
