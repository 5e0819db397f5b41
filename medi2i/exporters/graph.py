"""A method as a graph of fixed operations, and the proof that a copy of it gives the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F  # noqa: N812

from medi2i.errors import ExportMismatchError, UsageError
from medi2i.exporters.network import AnySize
from medi2i.exporters.subject import Subject

MOST_DIFFERENCE = 1e-3  # of the range of [-1, 1], which is 2
_LARGEST_SIDE = 16384
_CHECKED_SIDE = 320  # of the largest image that a copy is tried on: more costs minutes and shows no more
_SEED = 0

Inputs = tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B C"] | None]
Runner = Callable[[dict[str, np.ndarray]], Float32[np.ndarray, "B 1 H W"]]


def require_way(subject: Subject, kind: str) -> AnySize:
    """The networks of a subject, for images of any size.

    Raises:
        UsageError: the method can't be written as a graph.
    """
    adapter = subject.translator.adapter
    way = adapter.way(subject.direction)
    if way is None:
        raise UsageError(
            f"--to {kind}",
            found=f"method '{subject.method}', whose filters and grids follow the size of each image",
            expected="a method whose operations are the same for every image",
            remedy="use --to bundle, or a run of another method, e.g. cyclegan",
        )
    return AnySize(way, adapter.size_multiple).eval()


def trace(subject: Subject, network: AnySize) -> ExportedProgram:
    """The network as a program of tensors: any batch, height and width.

    Where each operation stands in whose source is taken out: a path may name a person.

    Raises:
        ExportMismatchError: the method's operations depend on the size of the image.
    """
    least = network.shortest_side
    example = (least + 32, least + 44)  # two sides that are not equal, or the trace would take them for one
    image, code = sample_inputs(subject, network, example, batch=2)
    sides = {axis: Dim(name, min=least, max=_LARGEST_SIDE) for axis, name in ((2, "height"), (3, "width"))}
    batch = Dim("batch", min=1, max=256)
    shapes: list[Any] = [{0: batch} | sides]
    arguments: list[Tensor] = [image]
    if code is not None:
        shapes.append({0: batch})
        arguments.append(code)
    with _explained("a trace", example), torch.no_grad():
        program = torch.export.export(network, tuple(arguments), dynamic_shapes=tuple(shapes), strict=False)
    for node in program.graph.nodes:
        for place in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node"):
            node.meta.pop(place, None)
    return program


def sample_inputs(subject: Subject, network: AnySize, shape: tuple[int, int], *, batch: int = 1) -> Inputs:
    """Smooth random images with noise in [-1, 1], and codes as the method is told them."""
    generator = torch.Generator().manual_seed(_SEED + 65_536 * shape[0] + shape[1])
    coarse = torch.randn(batch, 1, 8, 8, generator=generator)
    smooth = F.interpolate(coarse, shape, mode="bicubic", align_corners=False)
    image = (0.5 * smooth + 0.05 * torch.randn(batch, 1, *shape, generator=generator)).clamp(-1, 1)
    way, adapter = network.way, subject.translator.adapter
    if way.code is None:
        return image, None
    if way.code == "style":
        return image, adapter.sample_styles(batch, generator)
    return image, adapter.read_attributes({}, subject.direction).expand(batch, -1).clone()


def checked_shapes(subject: Subject, network: AnySize) -> tuple[tuple[int, int], ...]:
    """Three sizes that a copy is tried on, one of them no multiple of anything."""
    side = min(subject.translator.working_size or _CHECKED_SIDE, _CHECKED_SIDE)
    least = max(32, network.shortest_side)
    side = max(side, least)
    return (side, side), (side, max(least, round(0.8 * side)) + 1), (max(least, side // 2) + 2, side)


def require_agreement(subject: Subject, network: AnySize, run: Runner, *, what: str) -> float:
    """Compare a copy with the network at three sizes.

    Args:
        subject, network: the original.
        run: the copy: inputs by name, `image` and `style` or `attributes`, to its output.
        what: names the copy in messages.

    Returns:
        the largest difference, as a fraction of the range.

    Raises:
        ExportMismatchError: it is more than 1e-3, or the copy gives another shape.
    """
    worst = 0.0
    for shape in checked_shapes(subject, network):
        image, code = sample_inputs(subject, network, shape)
        with torch.inference_mode():
            wanted = network(image, code).numpy()
        named = {"image": image.numpy()}
        if code is not None:
            named[str(network.way.code)] = code.numpy()
        with _explained(what, shape):
            found = run(named)
        same = found.shape == wanted.shape
        difference = float(np.abs(found - wanted).max()) / 2 if same else float("nan")
        if not difference <= MOST_DIFFERENCE:
            raise ExportMismatchError(
                subject.run,
                found=f"{what} that differs by {difference:.2g} of the range at {shape[0]} x {shape[1]} px",
                expected=f"at most {MOST_DIFFERENCE:g}",
                remedy="nothing was written; use --to bundle, and report the method and versions",
            )
        worst = max(worst, difference)
    return worst


@contextmanager
def _explained(what: str, shape: tuple[int, int]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # runtimes raise types of their own
        words = " ".join(str(error).split())[:200]
        raise ExportMismatchError(
            what,
            found=f"does not run at {shape[0]} x {shape[1]} px ({type(error).__name__}: {words})",
            expected="to run at any size",
            remedy="nothing was written; use --to bundle, and report the method and versions",
        ) from error
