"""ONNX and torch.export: the networks' images at any size, what belongs to them inside, or nothing at all."""

import copy
import errno
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medi2i import export
from medi2i.errors import (
    DiskFullError,
    EnvironmentProblemError,
    ExportMismatchError,
    OutputExistsError,
    UsageError,
)
from medi2i.exporters import graph, torch_export
from medi2i.exporters.subject import open_subject
from medi2i.translation import load_translator, translate_whole
from tests.exporters.untrained import INTENSITIES, make_run

SIZES = ((48, 48), (33, 50), (97, 40))  # rows and columns that are multiples of 4, and that are not
TOLERANCE = 2e-3  # of values in [-1, 1]: a thousandth of their range
HOME = str(Path(graph.__file__).parent.parent).encode()
GRAPHS = ("cyclegan", "munit", "opgan", "matchgan")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    made: dict[str, Path] = {}

    def run(method: str) -> Path:
        if method not in made:
            made[method] = make_run(tmp_path_factory.mktemp(method) / "run", method)
        return made[method]

    return run


def image_of(shape: tuple[int, int]) -> torch.Tensor:
    rows, columns = (torch.linspace(0, 4, side) for side in shape)
    waves = torch.sin(rows)[:, None] * torch.cos(columns)[None]
    return (0.8 * waves + 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(1))).clamp(-1, 1)[
        None
    ]


def code_of(run: Path, method: str) -> dict[str, torch.Tensor]:
    """A code that is not the method's default."""
    adapter = load_translator(run, device="cpu").adapter
    if method == "munit":
        return {"style": torch.tensor([0.5, -1.0, 1.5])}
    if method in ("matchgan", "stargan"):
        return {"attributes": adapter.read_attributes({"view": "lateral"}, "source-to-target")}
    return {}


def translated(run: Path, image: torch.Tensor, code: dict[str, torch.Tensor]) -> np.ndarray:
    """As `medi2i translate` does it at working scale."""
    translator = load_translator(run, device="cpu")
    everywhere = torch.ones_like(image)
    device = torch.device("cpu")
    return translate_whole(translator.adapter, image, everywhere, "source-to-target", device, **code).numpy()


def check(run: Path, method: str, infer) -> None:
    code = code_of(run, method)
    for shape in SIZES:
        image = image_of(shape)
        wanted = translated(run, image, code)
        assert np.ptp(wanted) > 0.01
        inputs = {"image": image[None].numpy()} | {key: value[None].numpy() for key, value in code.items()}
        found = infer(inputs)
        assert found.shape == (1, 1, *shape)
        np.testing.assert_allclose(found[0], wanted, atol=TOLERANCE, rtol=0)
        both = {key: np.concatenate([value, value]) for key, value in inputs.items()}
        np.testing.assert_allclose(infer(both)[1], wanted, atol=TOLERANCE, rtol=0)
        if code:
            other = {key: -value for key, value in code.items()}
            assert not np.allclose(infer(inputs | {k: v[None].numpy() for k, v in other.items()})[0], wanted)


@pytest.mark.parametrize("method", ["cyclegan", "matchgan"])  # the trace is ONNX's, which are tried below
def test_a_torch_export_program_translates_as_the_run_at_any_size(method, runs, tmp_path):
    result = export(runs(method), to="torch-export", out=tmp_path / "out")
    extra = {"medi2i.json": ""}
    program = torch.export.load(tmp_path / "out" / "model.pt2", extra_files=extra).module()

    def infer(inputs):
        with torch.inference_mode():
            return program(*(torch.from_numpy(value) for value in inputs.values())).numpy()

    check(runs(method), method, infer)
    facts = json.loads((tmp_path / "out" / "medi2i.json").read_text())
    assert json.loads(extra["medi2i.json"]) == facts
    assert facts["input_intensity"]["low"] == INTENSITIES["source"].low
    assert facts["output_intensity"] == INTENSITIES["target"].to_dict()
    assert (facts["working_size"], facts["size_multiple"]) == (48, 4)
    assert result.notes[0].endswith("of the range")
    with zipfile.ZipFile(tmp_path / "out" / "model.pt2") as archive:  # nobody's folders are in it
        assert not [name for name in archive.namelist() if HOME in archive.read(name)]


@pytest.mark.parametrize("method", GRAPHS)
def test_an_onnx_file_translates_as_the_run_at_any_size(method, runs, tmp_path):
    onnx, session = load_onnx(runs(method), tmp_path)

    def infer(inputs):
        return session.run(None, inputs)[0]

    check(runs(method), method, infer)
    assert session.get_inputs()[0].shape == ["batch", 1, "height", "width"]
    facts = json.loads(session.get_modelmeta().custom_metadata_map["medi2i"])
    assert facts["output_intensity"] == INTENSITIES["target"].to_dict()
    assert facts["method"] == method
    # nobody's folders are in it
    assert (
        str(Path(graph.__file__).parent.parent).encode() not in (tmp_path / "out" / "model.onnx").read_bytes()
    )
    assert onnx.load(tmp_path / "out" / "model.onnx").opset_import[0].version == 18


def load_onnx(run: Path, tmp_path: Path):
    onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    export(run, to="onnx", out=tmp_path / "out")
    return onnx, runtime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])


def test_what_a_code_means_is_told(runs):
    told = open_subject(runs("matchgan"), "source-to-target").facts()["attributes"]
    names = [["domain", "source"], ["domain", "target"], ["view", "PA"], ["view", "lateral"]]
    assert told["bits"] == [*names, ["vendor", "a"], ["vendor", "b"]]
    assert told["default"] == [0, 1, 1, 0, 1, 0]  # a PA film of vendor a, the commonest
    assert [0, 1, 0, 1, 0, 1] in told["classes"]
    style = open_subject(runs("munit"), "target-to-source").facts()["style"]
    assert style == {"size": 3, "drawn_from": "N(0, 1)", "mean": [0.0, 0.0, 0.0]}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["unit", "stargan", "cut", "pix2pix"])
def test_every_other_method_with_a_way_is_exported(method, runs, tmp_path):
    noted = export(runs(method), to="torch-export", out=tmp_path / "program").notes
    assert "largest difference at three sizes" in noted[0]
    assert (tmp_path / "program" / "model.pt2").is_file()
    _, session = load_onnx(runs(method), tmp_path)
    assert [output.name for output in session.get_outputs()] == ["translated"]


@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_tone_has_no_graph_and_is_refused_before_anything_is_written(to, runs, tmp_path):
    with pytest.raises(UsageError, match=r"follow the size of each image.*use --to bundle"):
        export(runs("tone"), to=to, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_method_without_a_network_is_refused(runs, tmp_path):
    for to in ("bundle", "onnx", "torch-export"):
        with pytest.raises(UsageError, match="'histogram', which has no network"):
            export(runs("histogram"), to=to, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_direction_that_was_not_learned_is_refused(runs, tmp_path):
    with pytest.raises(UsageError, match="learns one way only"):
        export(runs("tone"), to="bundle", out=tmp_path / "out", direction="target-to-source")


def test_a_copy_that_differs_is_refused_and_nothing_stays(runs, tmp_path, monkeypatch):
    run = runs("cyclegan")

    def other_program(subject, network):
        """Traced with weights that were moved by a two-hundredth."""
        other = copy.deepcopy(network)
        with torch.no_grad():
            other.way.last.paint[-1].bias.add_(0.005)
        return graph.trace(subject, other)

    monkeypatch.setattr(torch_export, "trace", other_program)
    with pytest.raises(ExportMismatchError, match=r"differs by 0\.00\d+ of the range at 48 x 48 px"):
        export(run, to="torch-export", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("found", [np.full((1, 1, 48, 48), np.nan), np.zeros((1, 1, 4, 4))])
def test_nan_and_another_shape_are_no_agreement(found, runs):
    subject = open_subject(runs("cyclegan"), "source-to-target")
    network = graph.require_way(subject, "onnx")
    with pytest.raises(ExportMismatchError, match="differs by nan"):
        graph.require_agreement(subject, network, lambda inputs: found, what="a copy")

    def fail(inputs):
        raise RuntimeError("no kernel")

    with pytest.raises(ExportMismatchError, match=r"does not run at 48 x 48 px \(RuntimeError: no kernel\)"):
        graph.require_agreement(subject, network, fail, what="a copy")


def test_an_output_folder_with_content_is_left_alone(runs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="a folder with other content"):
        export(runs("cyclegan"), to="bundle", out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    with pytest.raises(OutputExistsError, match="a file"):
        export(runs("cyclegan"), to="bundle", out=tmp_path / "out" / "thesis.txt")
    (tmp_path / "empty").mkdir()
    export(runs("cyclegan"), to="bundle", out=tmp_path / "empty")
    assert (tmp_path / "empty" / "configs" / "inference.json").is_file()


@pytest.mark.parametrize(("to", "file"), [("bundle", "model.safetensors"), ("torch-export", "model.pt2")])
def test_a_full_disk_leaves_nothing(to, file, runs, tmp_path, monkeypatch):
    original = Path.write_bytes

    def full(path, content):
        if path.name == file:
            original(path, content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, content)

    run = runs("cyclegan")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match="choose another output folder"):
        export(run, to=to, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_is_named(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        EnvironmentProblemError, match=r"onnxruntime; expected .*pip install \"medi2i\[onnx\]\""
    ):
        export(runs("cyclegan"), to="onnx", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_and_says_where(runs, run_cli, tmp_path):
    run = runs("cyclegan")
    ended = run_cli("export", run, "--to", "bundle", "--out", tmp_path / "bundle")
    assert ended.code == 0
    assert f"bundle: {tmp_path / 'bundle'}" in ended.out
    weights = load_file(tmp_path / "bundle" / "models" / "model.safetensors")
    assert {key.split(".")[1] for key in weights} == {"source_to_target"}
    again = run_cli("export", run, "--to", "bundle", "--out", tmp_path / "bundle")
    assert again.code == 2 and "choose another --out" in again.error
    nowhere = run_cli("export", tmp_path / "nowhere", "--to", "onnx", "--out", tmp_path / "o")
    assert nowhere.code == 2 and "no such folder" in nowhere.error
    assert run_cli("export", run, "--to", "tensorrt", "--out", tmp_path / "o").code == 2
