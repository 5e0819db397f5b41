"""Unpaired batches: whole images decoded once and cached, crops drawn by (seed, sample number).

Which images and which crops make sample n depends on nothing but the seed and n. A resumed run therefore sees
what an uninterrupted one would have seen, with any number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from monai.transforms import Affine, Compose, LoadImaged, MapTransform
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, Dataset

from medi2i.config import Config
from medi2i.data.dataset_folder import DatasetItem
from medi2i.data.manifest import ManifestRow, load_masks
from medi2i.data.split import SplitConfig
from medi2i.image import Domain, IntensityConfig, IntensityMap, RadiographHeader
from medi2i.io.reader import RadiographReader

_CROP_TRIES = 8


class FramingConfig(Config):
    """Random zoom, aspect and rotation of training crops, so that one domain's framing covers the other's.

    Crops are resampled from up to twice the working resolution and averaged down, which keeps them sharp.
    """

    zoom: float = Field(default=0.15, ge=0, lt=1, description="0.15: between 1/1.15 and 1.15")
    aspect: float = Field(default=0.05, ge=0, lt=1)
    rotation_deg: float = Field(default=4.0, ge=0, le=45)


class DataConfig(Config):
    """How images become training crops.

    `working_size` is the longest side, in pixels, at which the networks see a whole image; None keeps the
    stored size. Training crops have `crop_size` at that scale.
    """

    working_size: int | None = Field(default=256, ge=32)
    crop_size: int = Field(default=256, ge=32)
    source_intensity: IntensityConfig = IntensityConfig()
    target_intensity: IntensityConfig = IntensityConfig()
    framing: FramingConfig | None = None
    flip: bool = False
    minimum_valid: float = Field(default=0.6, ge=0, le=1)
    split: SplitConfig = SplitConfig()
    workers: int = Field(default=0, ge=0)
    cache_mib: int = Field(default=4096, ge=0)

    def intensity(self, domain: Domain) -> IntensityConfig:
        """The domain's intensity settings."""
        return self.source_intensity if domain == "source" else self.target_intensity


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
    pipeline = Compose(
        [
            LoadImaged(["image"], reader=RadiographReader(), ensure_channel_first=True),
            DecodeRadiographd(root, domain_map, config, with_masks=with_masks),
        ]
    )
    items = [{"image": str(root / row.file), "row": row} for row in rows]
    return CacheDataset(
        items,
        pipeline,
        cache_num=_cacheable(rows, config, with_masks=with_masks),
        num_workers=0,
        progress=False,
        copy_cache=False,
    )


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


class UnpairedCrops(Dataset[dict[str, Tensor]]):
    """Sample n: a crop of a source image and a crop of a target image that have nothing in common.

    The longer domain is walked through in a new random order each epoch, the other is drawn at random.
    """

    def __init__(self, source: Dataset[Any], target: Dataset[Any], config: DataConfig, *, seed: int) -> None:
        self._domains = {"source": source, "target": target}
        self._lengths = {name: len(domain) for name, domain in self._domains.items()}  # type: ignore[arg-type]
        self._config = config
        self._seed = seed
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=int))

    @property
    def epoch_length(self) -> int:
        """Samples in an epoch: the longer domain's images."""
        return max(self._lengths.values())

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self._seed, 1, number])
        longer = max(self._lengths, key=lambda name: self._lengths[name])
        sample = {}
        for name, domain in self._domains.items():
            walked = self._walk(number)
            drawn = int(rng.integers(self._lengths[name]))
            crop = random_crop(domain[walked if name == longer else drawn], self._config, rng)
            sample[name] = crop["image"]
            sample[f"{name}_valid"] = crop["valid"]
            if "mask" in crop:
                sample[f"{name}_mask"] = crop["mask"]
        return sample

    def _walk(self, number: int) -> int:
        epoch, position = divmod(number, self.epoch_length)
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, 0, epoch]).permutation(self.epoch_length)
            self._order = (epoch, order)
        return int(self._order[1][position])


def random_crop(image: dict[str, Tensor], config: DataConfig, rng: np.random.Generator) -> dict[str, Tensor]:
    """One crop of `crop_size` with valid area and masks; one that holds little of the image is redrawn."""
    zoom, aspect, angle = _draw_framing(config, rng)
    longest = max(image["image"].shape[-2:])
    factor = longest / config.working_size if config.working_size else 1.0
    extent = (config.crop_size * factor * zoom * aspect, config.crop_size * factor * zoom / aspect)
    corner = _draw_corner(image["valid"], extent, config.minimum_valid, rng)
    crop = (
        _slice(image, corner, config.crop_size)
        if config.framing is None
        else _warp(image, corner, extent, angle, config.crop_size)
    )
    if config.flip and rng.random() < 0.5:
        crop = {key: value.flip(-1) for key, value in crop.items()}
    return crop


def _draw_framing(config: DataConfig, rng: np.random.Generator) -> tuple[float, float, float]:
    framing = config.framing
    if framing is None:
        return 1.0, 1.0, 0.0
    unit = rng.uniform(-1, 1, size=3)
    return (
        math.exp(unit[0] * math.log1p(framing.zoom)),
        math.exp(unit[1] * math.log1p(framing.aspect) / 2),
        math.radians(unit[2] * framing.rotation_deg),
    )


def _draw_corner(
    valid: Tensor, extent: tuple[float, float], minimum: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Upper left corner (row, column) of a window that is valid enough; the best of a few tries otherwise."""
    height, width = valid.shape[-2:]
    best, best_fraction = (0.0, 0.0), -1.0
    for _ in range(_CROP_TRIES):
        corner = tuple(
            float(rng.uniform(min(0.0, size - side), max(0.0, size - side)))
            for size, side in zip((height, width), extent, strict=True)
        )
        top, left = (max(0, round(c)) for c in corner)
        bottom, right = (max(1, round(c + e)) for c, e in zip(corner, extent, strict=True))
        fraction = float(valid[0, top:bottom, left:right].mean())
        if fraction > best_fraction:
            best, best_fraction = (corner[0], corner[1]), fraction
        if fraction >= minimum:
            break
    return best


def _slice(image: dict[str, Tensor], corner: tuple[float, float], size: int) -> dict[str, Tensor]:
    """The window's own pixels, untouched; a smaller image is padded to the crop, and the padding invalid."""
    height, width = image["image"].shape[-2:]
    top, left = max(0, round(corner[0])), max(0, round(corner[1]))
    bottom, right = min(height, top + size), min(width, left + size)
    pad = (0, size - (right - left), 0, size - (bottom - top))
    return {
        key: F.pad(value[:, top:bottom, left:right], pad, value=-1.0 if key == "image" else 0.0)
        for key, value in image.items()
    }


def _warp(
    image: dict[str, Tensor],
    corner: tuple[float, float],
    extent: tuple[float, float],
    angle: float,
    size: int,
) -> dict[str, Tensor]:
    """The window resampled at twice the crop's resolution and averaged down."""
    height, width = image["image"].shape[-2:]
    scale = (extent[0] / (2 * size), extent[1] / (2 * size))
    # MONAI measures from the centre of the input and of the output, and translates in input pixels
    offset = (
        corner[0] + extent[0] / 2 - height / 2,
        corner[1] + extent[1] / 2 - width / 2,
    )
    crop = {}
    for key, value in image.items():
        is_image = key == "image"
        affine = Affine(
            affine=_affine(angle, scale, offset),
            mode="bicubic" if is_image else "bilinear",
            padding_mode="reflection" if is_image else "zeros",
            image_only=True,
        )
        doubled = torch.as_tensor(affine(value, spatial_size=(2 * size, 2 * size)))
        reduced = F.avg_pool2d(doubled[None], 2)[0]
        if key == "valid":
            reduced = (reduced > 0.99).float()
        crop[key] = reduced.clamp(-1, 1)
    return crop


def _affine(angle: float, scale: tuple[float, float], offset: tuple[float, float]) -> np.ndarray:
    """Output pixel to input pixel, both measured from the centre, rows first."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array(
        [
            [cosine * scale[0], -sine * scale[1], offset[0]],
            [sine * scale[0], cosine * scale[1], offset[1]],
            [0.0, 0.0, 1.0],
        ]
    )


def unpaired_loader(
    crops: UnpairedCrops, *, batch_size: int, first: int, last: int, rank: int, world: int, workers: int
) -> DataLoader[dict[str, Tensor]]:
    """Batches `first` to `last` - 1 of one process.

    Batch s of rank r holds the samples from (s * world + r) * batch_size on.
    """
    numbers = [
        (step * world + rank) * batch_size + offset
        for step in range(first, last)
        for offset in range(batch_size)
    ]
    return DataLoader(
        crops,
        batch_size=batch_size,
        sampler=numbers,
        num_workers=workers,
        # a loader without a generator of its own draws one number from the global state
        generator=torch.Generator().manual_seed(first),
        persistent_workers=False,
        pin_memory=torch.cuda.is_available(),
    )
