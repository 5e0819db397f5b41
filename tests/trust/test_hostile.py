"""Thirty files that run code where they are unpickled, evaluated or imported by name: none is executed."""

import io
import json
import pickle
import shutil
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from medi2i.data.dataset_folder import discover
from medi2i.errors import Medi2iError
from medi2i.io import read_radiograph
from medi2i.training.checkpoint import load_checkpoint


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def gadgets(mark: Path) -> dict[str, object]:
    """Objects that would make `mark` if they were unpickled."""
    import builtins
    import os
    import subprocess

    code = f"open({str(mark)!r}, 'w').close()"
    return {
        "system": Call(os.system, f"touch {mark}"),
        "eval": Call(builtins.eval, code),
        "exec": Call(builtins.exec, code),
        "popen": Call(subprocess.call, ["touch", str(mark)]),
        "open": Call(builtins.open, str(mark), "w"),
        "mkdir": Call(os.mkdir, str(mark)),
    }


def saved_by_torch(value: object, *, legacy: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def renamed_inside(content: bytes, pickled: bytes) -> bytes:
    """A file of torch in which the pickle is another one."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))
    return out.getvalue()


def weights(mark: Path) -> dict[str, bytes]:
    """Files that say they are weights."""
    found, tensors = {}, {"model.1.weight": torch.ones(2)}
    for name, gadget in gadgets(mark).items():
        found[f"torch-{name}"] = saved_by_torch(tensors | {"extra": gadget})
    some = gadgets(mark)
    found["torch-legacy"] = saved_by_torch({"state_dict": some["system"]}, legacy=True)
    found["torch-list"] = saved_by_torch([some["eval"]])
    found["torch-as-key"] = saved_by_torch({("a", 1): {"b": [some["exec"]]}})
    found["torch-renamed"] = renamed_inside(saved_by_torch(tensors), pickle.dumps(some["system"]))
    for protocol in (0, 2, 4, 5):
        found[f"pickle-{protocol}"] = pickle.dumps(some["system"], protocol=protocol)
    array = io.BytesIO()
    np.save(array, np.array([some["system"]], dtype=object), allow_pickle=True)
    found["numpy"] = array.getvalue()
    return found


YAMLS = {
    "apply": "!!python/object/apply:os.system ['touch {mark}']",
    "new": "seed: !!python/object/new:os.system ['touch {mark}']",
    "eval": "seed: !!python/object/apply:eval [\"open('{mark}', 'w')\"]",
    "name": "adapter: {{name: !!python/name:os.system}}",
    "module": "adapter: !!python/module:this",
    "tuple": "seed: !!python/tuple [!!python/object/apply:os.mkdir ['{mark}']]",
    "target": "adapter: {{_target_: os.system, command: 'touch {mark}'}}",
    "expression": "seed: \"$__import__('os').system('touch {mark}')\"",
    "template": "seed: \"{{{{ ''.__class__ }}}}\"",
    "bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefgh")),
}


@pytest.fixture
def mark(tmp_path) -> Path:
    """What an executed payload would leave."""
    return tmp_path / "executed"


def test_the_payloads_do_run_where_somebody_lets_them(mark):
    pickle.loads(pickle.dumps(gadgets(mark)["system"]))  # noqa: S301
    assert mark.exists()


def test_there_are_thirty(mark):
    assert len(weights(mark)) + len(YAMLS) + len(INSIDE_RUNS) + len(OTHERS) >= 30


@pytest.mark.parametrize("name", weights(Path("/nowhere")))
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights(name, suffix, mark, domains_folder, tmp_path, run_cli):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(weights(mark)[name])
    folders = ("--src", domains_folder / "src", "--tgt", domains_folder / "tgt")
    ended = run_cli("import-weights", path, *folders, "--out", tmp_path / "run", "--device", "cpu")
    assert ended.code in (1, 2)
    assert "Traceback" not in ended.err
    assert not mark.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", YAMLS)
def test_configurations(name, mark, domains_folder, tmp_path, run_cli):
    path = tmp_path / "config.yaml"
    path.write_text(YAMLS[name].format(mark=mark))
    folders = ("--src", domains_folder / "src", "--tgt", domains_folder / "tgt")
    for given in (("--config", path), ("--set", YAMLS[name].format(mark=mark).replace("seed: ", "seed=", 1))):
        ended = run_cli("adapt", *folders, *given, "--out", tmp_path / "run", "--device", "cpu")
        assert ended.code == 2
        assert "Traceback" not in ended.err
        assert len(ended.err) < 5000  # nor does a bomb unfold in the message
    assert not mark.exists()


def test_an_image_that_holds_objects(mark, tmp_path):
    path = tmp_path / "image.npy"
    path.write_bytes(weights(mark)["numpy"])
    with pytest.raises(Medi2iError):
        read_radiograph(path)
    assert not mark.exists()


OTHERS = ("an image of objects", "a template as a name")
INSIDE_RUNS = ("networks.safetensors", "average.safetensors", "optimizers.safetensors", "rank-0.safetensors")


@pytest.mark.parametrize("file", INSIDE_RUNS)
def test_a_checkpoint_in_which_tensors_were_replaced(file, mark, copied_run):
    for path in (copied_run / "checkpoints").glob(f"step-*/{file}"):
        path.write_bytes(pickle.dumps(gadgets(mark)["system"]))
    with pytest.raises(Medi2iError):
        load_checkpoint(copied_run / "checkpoints", rank=0)
    assert not mark.exists()


def test_names_of_structures_are_no_templates_and_no_markup(mark, domains_folder, tmp_path, run_cli):
    """What a stranger's tables say is shown in the report as text."""
    source = shutil.copytree(domains_folder / "src", tmp_path / "src")
    evil = "{{ cycler.__init__.__globals__.os.system('touch MARK') }}<script>alert(1)</script>".replace(
        "MARK", mark.name
    )
    tables = json.loads((source / "dataset.json").read_text())
    kept = tables["structures"][0]
    tables["structures"][0] = evil
    (source / "dataset.json").write_text(json.dumps(tables))
    try:
        structures = discover(source).structures
    except Medi2iError as error:
        assert "structures" in str(error)
        return
    assert kept not in structures
    given = ("--method", "identity", "--set", "evaluation.feature_size=64", "--device", "cpu")
    run_cli("adapt", "--src", source, "--tgt", domains_folder / "tgt", *given, "--out", tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    assert not page.exists() or "<script>alert(1)" not in page.read_text()
    assert not mark.exists()
    assert not Path(mark.name).exists()
