"""Whole images from disk to [-1, 1] at working scale, decoded once as far as the cache reaches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.data import CacheDataset
from monai.transforms import Compose, LoadImaged, MapTransform
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.data.dataset_folder import DatasetItem
from medi2i.data.manifest import ManifestRow, load_masks
from medi2i.data.settings import DataConfig
from medi2i.image import IntensityMap, RadiographHeader
from medi2i.io.field import fill_outside
from medi2i.io.reader import RadiographReader

_PLUGIN_LOGGER = "monai.data.nvimgcodec_pydicom_plugin"
_PLUGIN_MESSAGE = "nvImageCodec is not available; skipping pydicom decoder plugin registration."


def input_intensity(row: ManifestRow, domain_map: IntensityMap, config: DataConfig) -> IntensityMap:
    """The map from one image's stored values to [-1, 1]: its own or its domain's, as configured."""
    return row.intensity if config.intensity(row.domain).fit == "image" else domain_map


def item_of(row: ManifestRow, root: Path) -> DatasetItem:
    """The data set item that a manifest row was made from."""
    return DatasetItem(
        path=root / row.file,
        relative=Path(row.output),
        mask=root / row.mask if row.mask else None,
        valid=root / row.valid if row.valid else None,
        spacing_mm=row.spacing_mm,
        spacing_origin=row.spacing_origin,
    )


def working_shape(rows: int, columns: int, working_size: int | None) -> tuple[int, int]:
    """Matrix of an image at working scale, aspect kept."""
    if working_size is None:
        return rows, columns
    scale = working_size / max(rows, columns)
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def resize(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """(C, H, W) to another matrix: area average on the way down, bicubic on the way up."""
    if tuple(image.shape[-2:]) == tuple(shape):
        return image
    down = shape[0] <= image.shape[-2] and shape[1] <= image.shape[-1]
    if down:
        return F.interpolate(image[None], shape, mode="area")[0]
    return F.interpolate(image[None], shape, mode="bicubic", align_corners=False)[0].clamp(-1, 1)


class DecodeRadiographd(MapTransform):
    """What follows MONAI's `LoadImaged`: [-1, 1], the valid area, masks; at (up to twice) working scale."""

    def __init__(self, root: Path, domain_map: IntensityMap, config: DataConfig, *, with_masks: bool) -> None:
        super().__init__(["image"])
        self._root = root
        self._domain_map = domain_map
        self._config = config
        self._with_masks = with_masks

    def __call__(self, data: Any) -> dict[str, Tensor]:
        row: ManifestRow = data["row"]
        image = data["image"]
        header = _header(row, image.meta["value_range"])
        valid = torch.as_tensor(image.meta["valid"]).float()[None]
        if row.valid:
            shape = tuple(valid.shape[1:])
            given = load_masks(self._root / row.valid, ("valid",), shape)
            valid = valid * torch.from_numpy(given).float()
        scaled = input_intensity(row, self._domain_map, self._config).to_network(image[0].numpy(), header)
        scaled = fill_outside(scaled, valid[0].numpy() > 0)
        shape = working_shape(row.rows, row.columns, self._config.working_size)
        if self._config.framing is not None:
            factor = min(2.0, max(1.0, max(row.rows, row.columns) / max(shape)))
            shape = (round(shape[0] * factor), round(shape[1] * factor))
        sample = {
            "image": resize(torch.from_numpy(scaled)[None], shape),
            "valid": (resize(valid, shape) > 0.99).float(),
        }
        if self._with_masks and row.mask:
            masks = load_masks(self._root / row.mask, row.structures, (row.rows, row.columns))
            # bicubic enlarging overshoots
            sample["mask"] = resize(torch.from_numpy(masks).float(), shape).clamp(0, 1)
        return sample


def _header(row: ManifestRow, value_range: tuple[float, float]) -> RadiographHeader:
    """What the intensity map has to know; the reader says NaN for floating-point images."""
    known = row.bits_stored is not None
    return RadiographHeader(
        "npy", row.rows, row.columns, bits_stored=row.bits_stored, value_range=value_range if known else None
    )


def decoded_images(
    rows: Sequence[ManifestRow],
    root: Path,
    domain_map: IntensityMap,
    config: DataConfig,
    *,
    with_masks: bool = False,
) -> CacheDataset:
    """Whole images of one domain at (up to twice) working scale, decoded once as far as the cache reaches."""
    with _without_plugin_message():
        load = LoadImaged(["image"], reader=RadiographReader(), ensure_channel_first=True)
    pipeline = Compose([load, DecodeRadiographd(root, domain_map, config, with_masks=with_masks)])
    items = [{"image": str(root / row.file), "row": row} for row in rows]
    return CacheDataset(
        items,
        pipeline,
        cache_num=_cacheable(rows, config, with_masks=with_masks),
        num_workers=0,
        progress=False,
        copy_cache=False,
    )


@contextmanager
def _without_plugin_message() -> Iterator[None]:
    """MONAI looks for all of its own readers, none of which is used here, and says that one can't work."""

    def is_another(record: logging.LogRecord) -> bool:
        return record.getMessage() != _PLUGIN_MESSAGE

    logger = logging.getLogger(_PLUGIN_LOGGER)
    logger.addFilter(is_another)
    try:
        yield
    finally:
        logger.removeFilter(is_another)


def _cacheable(rows: Sequence[ManifestRow], config: DataConfig, *, with_masks: bool) -> int:
    """How many images fit into half of the cache; the other half is the other domain's."""
    factor = 2 if config.framing is not None else 1
    budget, count = config.cache_mib * 2**20 / 2, 0
    for row in rows:
        height, width = working_shape(row.rows, row.columns, config.working_size)
        planes = 2 + (len(row.structures) if with_masks else 0)
        budget -= 4 * planes * height * width * factor**2
        if budget < 0:
            break
        count += 1
    return count
