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
from medi2i.data.unpaired import resize, working_shape
from medi2i.evaluation import Domains, write_picture

_COLUMNS = 6


def preview_writer(domains: Domains, folder: Path) -> Callable[[DomainAdapter, int], None]:
    """A hook that writes `folder/step-XXXXXXX.png` for up to six validation images of each domain."""
    sources, targets = (_squares(domains, name) for name in ("source", "target"))

    def write(adapter: DomainAdapter, step: int) -> None:
        device = next(adapter.parameters()).device
        image = torch.stack(sources).to(device)
        translated = adapter.translate(image, direction="source-to-target")
        back = adapter.reconstruct(image, translated, "source-to-target")
        rows = [_row(image), _row(translated), *([] if back is None else [_row(back)]), _row(torch.stack(targets))]
        write_picture(folder / f"step-{step:07d}.png", np.concatenate(rows, axis=0), side=None)

    return write


def _squares(domains: Domains, domain: str) -> list[Tensor]:
    """Validation images letterboxed to squares of the working size, so that they fit one batch."""
    squares = []
    for item in islice(domains.images(domain, "validation"), _COLUMNS):
        side = domains.data.working_size or min(512, max(item.row.rows, item.row.columns))
        image = resize(
            torch.from_numpy(item.image)[None], working_shape(item.row.rows, item.row.columns, side)
        )
        side += -side % 4
        height, width = image.shape[-2:]
        squares.append(F.pad(image, (0, side - width, 0, side - height), value=-1.0))
    return squares


def _row(images: Tensor) -> np.ndarray:
    joined: np.ndarray = torch.cat(list(images.float().cpu()[:, 0]), dim=1).numpy()
    return joined
