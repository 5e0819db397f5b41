"""The picture to look at while a translation learns: source, translated, reconstructed, target."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.adapters import DomainAdapter
from medi2i.data.decoding import resize, working_shape
from medi2i.evaluation import Domains, write_picture

_COLUMNS = 6
_SIDE = 512  # of the squares when images keep their stored size
_MULTIPLE = 4  # that networks with two halvings need


def preview_writer(domains: Domains, folder: Path) -> Callable[[DomainAdapter, int], None]:
    """A hook that writes `folder/step-XXXXXXX.png` for up to six validation images of each domain."""
    side = domains.data.working_size or min(_SIDE, _longest(domains))
    sources, targets = (_squares(domains, name, side + -side % _MULTIPLE) for name in ("source", "target"))
    columns = max(len(sources), len(targets))

    def write(adapter: DomainAdapter, step: int) -> None:
        device = next(adapter.parameters()).device
        image = torch.stack(sources).to(device)
        translated = adapter.translate(image, direction="source-to-target")
        back = adapter.reconstruct(image, translated, "source-to-target")
        shown = [image, translated, *([] if back is None else [back]), torch.stack(targets)]
        rows = [_row(images, columns) for images in shown]
        write_picture(folder / f"step-{step:07d}.png", np.concatenate(rows, axis=0), side=None)

    return write


def _longest(domains: Domains) -> int:
    return max(max(row.rows, row.columns) for row in (*domains.source, *domains.target))


def _squares(domains: Domains, domain: str, side: int) -> list[Tensor]:
    """Validation images letterboxed to squares, so that images of any size fit one batch."""
    squares = []
    for item in islice(domains.images(domain, "validation"), _COLUMNS):
        image = resize(
            torch.from_numpy(item.image)[None], working_shape(item.row.rows, item.row.columns, side)
        )
        height, width = image.shape[-2:]
        squares.append(F.pad(image, (0, side - width, 0, side - height), value=-1.0))
    return squares


def _row(images: Tensor, columns: int) -> np.ndarray:
    """(B, 1, S, S) side by side, (S, columns * S), black where a domain has fewer images than the other."""
    joined = torch.cat(list(images.float().cpu()[:, 0]), dim=1)
    missing = columns * images.shape[-1] - joined.shape[1]
    row: np.ndarray = F.pad(joined, (0, missing), value=-1.0).numpy()
    return row
