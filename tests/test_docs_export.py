"""The pages "to MONAI" and "to ONNX" and the notebook: every command and every cell is run, in order."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_data import load_png

from medi2i import translate
from tests.adaptation.published import Reference, save
from tests.exporters.untrained import make_run

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# so that a page's commands end in seconds: added to what it says
QUICK = ("--set", "evaluation.feature_size=64", "--set", "data.working_size=40", "--device", "cpu")


@pytest.fixture
def workplace(domains_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages take for granted: `drr`, `films`, `runs/first`, published weights."""
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(domains_folder / "src", tmp_path / "drr")
    shutil.copytree(domains_folder / "tgt", tmp_path / "films")
    make_run(tmp_path / "runs" / "first", "cyclegan", working_size=40)
    save(Reference(), tmp_path / "latest_net_G_A.pth")
    return tmp_path


def run_page(page: str, run_cli: Callable[..., object]) -> list[str]:
    """Run the page's blocks in order; returns the kinds of what was run."""
    done = []
    for language, block in _FENCE.findall((ROOT / "docs" / page).read_text("utf-8")):
        if language == "python":
            exec(compile(block, page, "exec"), {"__name__": "page"})  # noqa: S102
            done.append("python")
            continue
        for line in block.splitlines():
            words = shlex.split(line)
            if words[0] == "medi2i":
                more = QUICK if words[1] == "import-weights" else ()
                ended = run_cli(*words[1:], *more)
                assert ended.code == 0, (line, ended.err)  # type: ignore[attr-defined]
            elif words[:2] == ["python", "-m"]:
                if _has("fire"):
                    subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True)
                else:
                    words = ["left out: no package fire"]
            else:
                assert words[:2] == ["pip", "install"], line
            done.append(words[0] if words[0] != "medi2i" else f"medi2i {words[1]}")
    return done


def _has(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


@pytest.mark.filterwarnings("ignore")
def test_the_page_to_monai_does_what_it_says(workplace: Path, run_cli: Callable[..., object]) -> None:
    done = run_page("to-monai.md", run_cli)
    assert done[0] == "medi2i export" and done.count("python") >= 3
    translate(workplace / "runs" / "first", workplace / "drr", out=workplace / "ours", device="cpu")
    outputs = [workplace / "again"] + ([workplace / "out"] if _has("fire") else [])
    for out in outputs:
        names = sorted(path.name for path in out.iterdir())
        assert names == sorted(path.name for path in (workplace / "ours" / "images").iterdir())
        for name in names:
            assert (out / name).read_bytes() == (workplace / "ours" / "images" / name).read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_the_page_to_onnx_does_what_it_says(workplace: Path, run_cli: Callable[..., object]) -> None:
    done = run_page("to-onnx.md", run_cli)
    assert done.count("medi2i export") == 2 and done.count("medi2i import-weights") == 2
    one = workplace / "drr" / "images" / "drr_00.png"
    translate(workplace / "runs" / "first", one, out=workplace / "ours", device="cpu")
    wanted = load_png(workplace / "ours" / "images" / "drr_00.png").astype(int)
    found = load_png(workplace / "translated.png").astype(int)
    assert np.ptp(wanted) > 1000
    assert np.abs(found - wanted).max() <= 65  # a thousandth of the range of 16 bits
    assert (workplace / "runs" / "published" / "report.html").is_file()


@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs" / "notebooks" / "library.ipynb").read_text("utf-8"))
    assert notebook["nbformat"] == 4
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    names: dict[str, object] = {"__name__": "notebook"}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)  # noqa: S102
    assert (tmp_path / "library-notebook" / "bundle" / "configs" / "inference.json").is_file()
    one, other = names["one"], names["other"]
    assert isinstance(one, type(other)) and not bool((one == other).all())  # type: ignore[attr-defined]
    names["plt"].close("all")  # type: ignore[attr-defined]
