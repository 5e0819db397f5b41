"""`--to onnx`: a file for onnxruntime and whatever else reads ONNX."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medi2i.errors import EnvironmentProblemError
from medi2i.exporters.graph import require_agreement, require_way, trace
from medi2i.exporters.subject import Subject

FILE = "model.onnx"
_OPSET = 18  # read by onnxruntime since 1.14 of early 2023
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_AXES = ("batch", "channel", "height", "width")


def write_onnx(subject: Subject, folder: Path) -> list[str]:
    """Write `model.onnx`, with what belongs to it in its metadata, run it, and compare.

    Returns:
        what is worth telling.

    Raises:
        EnvironmentProblemError: a package of the extra `onnx` is not installed.
        UsageError: the method can't be written as a graph.
        ExportMismatchError: what was written gives other images.
    """
    network = require_way(subject, "onnx")
    require_packages()
    program = trace(subject, network)
    code = network.way.code
    names = ["image"] if code is None else ["image", code]
    with _quiet():
        # its own `optimize` folds constants and takes out what does nothing
        exported: Any = torch.onnx.export(
            program, dynamo=True, opset_version=_OPSET, input_names=names, output_names=["translated"]
        )
        model = exported.model_proto
    _describe(model, subject.facts() | {"shortest_side": network.shortest_side})
    (folder / FILE).write_bytes(model.SerializeToString())
    worst = require_agreement(subject, network, _runner(folder / FILE), what="an ONNX file")
    return [f"largest difference at three sizes: {worst:.2g} of the range"]


def require_packages() -> None:
    """Make sure that the extra is installed.

    Raises:
        EnvironmentProblemError: it isn't.
    """
    missing = []
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise EnvironmentProblemError(
            "--to onnx",
            found=f"no package {', '.join(missing)}",
            expected="the extra 'onnx'",
            remedy='install it: pip install "medi2i[onnx]"',
        )


def _describe(model: Any, facts: dict[str, Any]) -> None:
    """Facts as metadata, axes with names, and no place in anyone's source code."""
    import onnx

    graph = model.graph
    del graph.value_info[:]  # shapes of intermediate results, in names of the trace's own
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
        for axis, side in zip(_AXES, value.type.tensor_type.shape.dim, strict=False):
            if side.dim_param:
                side.dim_param = axis
    for initializer in graph.initializer:
        del initializer.metadata_props[:]
    del graph.metadata_props[:]
    graph.name = "medi2i"
    model.producer_name, model.producer_version = "medi2i", str(facts["medi2i"])
    onnx.helper.set_model_props(model, {"medi2i": json.dumps(facts)})
    onnx.checker.check_model(model, full_check=True)


def _runner(path: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        result: np.ndarray = session.run(["translated"], inputs)[0]
        return result

    return run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter prints of its steps, and of packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
