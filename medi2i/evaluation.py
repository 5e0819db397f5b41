"""Measure a run: how near the target domain, how much structure was kept; all of it in `results.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from medi2i.adapters import DomainAdapter, HistogramConfig
from medi2i.config import Config
from medi2i.data.dataset_folder import MASKS
from medi2i.data.manifest import ManifestRow, file_sha256, load_radiograph
from medi2i.data.outputs import output_masks, read_provenance
from medi2i.data.tables import SPLITS
from medi2i.data.unpaired import DataConfig, input_intensity, item_of, resize, working_shape
from medi2i.errors import MaskMismatchError
from medi2i.image import IntensityMap, Radiograph, fit_intensity
from medi2i.io import read_radiograph
from medi2i.io.atomic import write_text_atomically
from medi2i.metrics.distribution import energy_distance, energy_distances, split_half_floors
from medi2i.metrics.edges import edge_displacement
from medi2i.metrics.features import FEATURE_COUNT, FeatureScaler, distribution_features, is_defined
from medi2i.metrics.paired import mean_absolute_error
from medi2i.metrics.paired import ssim as paired_ssim
from medi2i.metrics.statistics import bootstrap_mean
from medi2i.metrics.structure import gradient_correlation, sanity_flags, ssim
from medi2i.training.loop import Validation
from medi2i.translation import translate_whole

RESULTS_FORMAT = 1
_MEASURES = ("gradient_correlation", "ssim", "edge_median", "edge_p95")
_PREVIEW_SIDE = 512


class EvaluationConfig(Config):
    """How the first edition of the measurements is taken.

    `feature_size` is the longest side, in pixels, to which images of both domains are averaged down before
    their features are compared, so that a difference of matrix is no difference of domain.
    """

    feature_size: int = Field(default=256, ge=64)
    floor_repeats: int = Field(default=200, ge=10)
    worst: int = Field(default=6, ge=0)


@dataclass(frozen=True)
class NetworkImage:
    """A whole image as the networks see it, at its own matrix."""

    row: ManifestRow
    image: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Reference:
    """What the distances are measured against; fixed before training.

    Attributes:
        scaler: z-score of features, fitted on the target's training images.
        target: scaled features of the target images that have them all, by split.
        target_groups: their patients, None where images count as drawn on their own.
        floor: distance of random halves of the held-out target images.
        baselines: distances and structure of the identity and of histogram matching.
    """

    scaler: FeatureScaler
    target: dict[str, np.ndarray]
    target_groups: dict[str, list[str] | None]
    floor: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Domains:
    """Where a run's images are and how they become [-1, 1]."""

    source: list[ManifestRow]
    target: list[ManifestRow]
    source_root: Path
    target_root: Path
    intensities: dict[str, IntensityMap]
    data: DataConfig

    def images(self, domain: str, *splits: str) -> Iterator[NetworkImage]:
        """Whole images of one domain, one at a time; all splits unless some are named."""
        rows, root = (
            (self.source, self.source_root) if domain == "source" else (self.target, self.target_root)
        )
        for row in rows:
            if not splits or row.split in splits:
                radiograph = load_radiograph(item_of(row, root))
                mapping = input_intensity(row, self.intensities[domain], self.data)
                scaled = mapping.to_network(radiograph.pixels, radiograph.header)
                yield NetworkImage(row, scaled, radiograph.valid)


Translation = Callable[[NetworkImage], np.ndarray]


def fix_reference(
    domains: Domains, config: EvaluationConfig, *, seed: int, tick: Callable[[], None]
) -> Reference:
    """Everything a translation will be compared with, measured before it exists.

    The floor is the distance between random halves, by patient, of the target images never trained on
    (validation and test): what two sets of real images differ by.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    shown: dict[str, list[ManifestRow]] = {name: [] for name in SPLITS}
    for image in domains.images("target"):
        features = _features(image.image, image.valid, config)
        if is_defined(features[None])[0]:
            found[image.row.split].append(features)
            shown[image.row.split].append(image.row)
        tick()
    scaler = FeatureScaler.fit(_stack(found["train"]))
    target = {name: scaler.transform(_stack(values)) for name, values in found.items()}
    floors = split_half_floors(
        np.concatenate([target["validation"], target["test"]]),
        _units(shown["validation"] + shown["test"]),
        rng=np.random.default_rng([seed, 7]),
        repeats=config.floor_repeats,
    )
    groups = {name: _units(rows) for name, rows in shown.items()}
    reference = Reference(scaler, target, groups, {name: asdict(floor) for name, floor in floors.items()}, {})
    for name, translation in baseline_translations(domains).items():
        reference.baselines[name] = measure_translation(
            domains, reference, translation, config, seed=seed, tick=tick
        )
    return reference


def baseline_translations(domains: Domains) -> dict[str, Translation]:
    """The identity, and histogram matching fitted on the target's training images."""
    histogram = HistogramConfig().build(seed=0)
    histogram.fit("target", tensors(domains.images("target", "train")))

    def match(image: NetworkImage) -> np.ndarray:
        tensor, valid = next(iter(tensors([image])))
        out = histogram.translate(tensor[None], direction="source-to-target", valid=valid[None])
        return np.where(image.valid, out[0, 0].numpy(), np.float32(-1))

    return {"identity": lambda image: image.image, "histogram": match}


def tensors(images: Iterable[NetworkImage]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`(image (1, H, W), valid (1, H, W))` for `DomainAdapter.fit`."""
    for image in images:
        yield torch.from_numpy(image.image)[None], torch.from_numpy(image.valid).float()[None]


def validator(domains: Domains, reference: Reference, config: EvaluationConfig) -> Callable[..., Validation]:
    """The look at validation images by which the best checkpoint is chosen, at working scale."""
    size = domains.data.working_size
    target = _as_point(reference.target["validation"])
    prepared = []
    for item in domains.images("source", "validation"):
        shape = working_shape(item.row.rows, item.row.columns, size)
        image = resize(torch.from_numpy(item.image)[None], shape)
        valid = resize(torch.from_numpy(item.valid).float()[None], shape) > 0.5
        prepared.append((image, valid))

    def validate(adapter: DomainAdapter) -> Validation:
        device = next(adapter.parameters()).device
        features, kept = [], []
        for image, valid in prepared:
            out = translate_whole(adapter, image, valid, "source-to-target", device)[0].numpy()
            features.append(_features(out, valid[0].numpy(), config))
            kept.append(gradient_correlation(image[0].numpy(), out, valid[0].numpy()))
        scaled = reference.scaler.transform(_stack(features))
        distance = energy_distance(_as_point(scaled[is_defined(scaled)]), target)
        correlations = [value for value in kept if math.isfinite(value)]
        return Validation(
            # what can't be measured must not be chosen
            distance=distance if math.isfinite(distance) else math.inf,
            gradient_correlation=float(np.median(correlations)) if correlations else -1.0,
        )

    return validate


def _as_point(features: np.ndarray) -> np.ndarray:
    """A set of one image as one without spread: its distance is else undefined, and nothing can be chosen."""
    return np.repeat(features, 2, axis=0) if len(features) == 1 else features


def translated_images(domains: Domains, folder: Path) -> Translation:
    """Translations as they were written, brought back to [-1, 1] by the map they were written with."""
    records = {record["id"]: record for record in read_provenance(folder)}

    def read(image: NetworkImage) -> np.ndarray:
        record = records[image.row.id]
        radiograph = read_radiograph(folder / record["output"])
        outgoing = IntensityMap.from_dict(record["output_intensity"])
        return outgoing.to_network(radiograph.pixels, radiograph.header)

    return read


def measure_translation(
    domains: Domains,
    reference: Reference,
    translation: Translation,
    config: EvaluationConfig,
    *,
    seed: int,
    tick: Callable[[], None],
) -> dict[str, Any]:
    """Distances and structure of one translation of every source image.

    Returns:
        `distance` and `distance_held_out_source` (by feature group), `structure` (summaries over images with
        patient-level intervals), `images` (one row each).
    """
    rows, features = [], []
    for image in domains.images("source"):
        out = translation(image)
        features.append(_features(out, image.valid, config))
        rows.append(_measure_image(image, out))
        tick()
    scaled = reference.scaler.transform(_stack(features))
    defined = is_defined(scaled)
    held_out = np.array([row.split == "test" for row in domains.source])

    def distances(chosen: np.ndarray) -> dict[str, float]:
        return energy_distances(
            scaled[chosen],
            reference.target["test"],
            x_groups=_units([row for row, keep in zip(domains.source, chosen, strict=True) if keep]),
            y_groups=reference.target_groups["test"],
        )

    return {
        "distance": distances(defined),
        "distance_held_out_source": distances(defined & held_out),
        "n_undefined_features": int((~defined).sum()),
        "structure": summarize(rows, domains.source, _MEASURES, seed=seed),
        "images": rows,
    }


def summarize(
    rows: Sequence[Mapping[str, Any]],
    manifest: Sequence[ManifestRow],
    measures: Sequence[str],
    *,
    seed: int,
) -> dict[str, Any]:
    """Median, 5th and 95th percentile, and mean with its patient-level interval, of each measure."""
    groups = _patients(manifest)
    single = groups is not None and len(set(groups)) < 2
    summary = {}
    for measure in measures:
        values = np.array([row[measure] for row in rows], dtype=float)
        interval = asdict(bootstrap_mean(values, groups, np.random.default_rng([seed, 11])))
        if single:
            interval["low"] = interval["high"] = None
        finite = values[np.isfinite(values)]
        quantiles = np.percentile(finite, [5, 50, 95]) if finite.size else [math.nan] * 3
        summary[measure] = {
            "p5": float(quantiles[0]),
            "median": float(quantiles[1]),
            "p95": float(quantiles[2]),
            "mean": interval,
        }
    return summary


def measure_truth(
    domains: Domains,
    truth: Mapping[str, Path],
    translations: Mapping[str, Translation],
    *,
    seed: int,
    tick: Callable[[], None],
) -> dict[str, Any] | None:
    """Error against the true target image of source patients never trained on, where the user has some.

    Args:
        truth: source row id to the file of the same view in the target domain.
        translations: name to translation; identity and histogram matching stand beside the method.

    Raises:
        MaskMismatchError: a true image has another matrix than its source image.
    """
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in translations}
    used: list[ManifestRow] = []
    for image in domains.images("source", "test"):
        if image.row.id not in truth:
            continue
        true, valid = _true_image(truth[image.row.id], image, domains)
        used.append(image.row)
        for name, translation in translations.items():
            out = translation(image)
            rows[name].append(
                {
                    # [-1, 1] is two wide: errors are stated as a fraction of the range
                    "mean_absolute_error": mean_absolute_error(out, true, valid) / 2,
                    "ssim": paired_ssim(out, true, valid),
                }
            )
        tick()
    if not used:
        return None
    measures = ("mean_absolute_error", "ssim")
    return {
        "n_images": len(used),
        "n_patients": len({row.patient or row.id for row in used}),
        **{name: summarize(values, used, measures, seed=seed) for name, values in rows.items()},
    }


def require_matrix(path: Path, matrix: tuple[int, int]) -> Radiograph:
    """A true target image, read.

    Raises:
        MaskMismatchError: it has another matrix (rows, columns) than its source image.
        UnreadableImageError: it can't be decoded.
    """
    true = read_radiograph(path)
    if true.pixels.shape != matrix:
        raise MaskMismatchError(
            path,
            found=f"{true.pixels.shape[0]} x {true.pixels.shape[1]} pixels",
            expected=f"its source image's {matrix[0]} x {matrix[1]}",
            remedy="give the true image in the geometry of its source image",
        )
    return true


def check_masks(rows: Sequence[ManifestRow], root: Path, folder: Path) -> dict[str, int]:
    """How many masks were carried, and how many of them are byte for byte what they were."""
    masks = output_masks(rows)
    carried = identical = 0
    for row in rows:
        if row.mask is None:
            continue
        origin, copy = root / row.mask, folder / MASKS / masks[row.id]
        pairs = [(origin, copy)]
        if origin.is_dir():
            pairs = [(path, copy / path.name) for path in sorted(origin.glob("*.png"))]
        present = all(copied.is_file() for _, copied in pairs)
        carried += present
        identical += present and all(file_sha256(a) == file_sha256(b) for a, b in pairs)
    return {
        "in_source": len(masks),
        "carried": carried,
        "identical": identical,
    }


def write_worst(
    domains: Domains, translation: Translation, rows: Sequence[Mapping[str, Any]], folder: Path, count: int
) -> list[dict[str, str]]:
    """Pictures (source | translated) of the images that kept the least structure, chosen by the metric."""
    order = sorted(rows, key=lambda row: (not row["flags"], _or_worst(row["gradient_correlation"])))
    chosen = {row["id"]: rank for rank, row in enumerate(order[:count])}
    folder.mkdir(parents=True, exist_ok=True)
    pictures: list[dict[str, str]] = [{} for _ in chosen]
    for image in domains.images("source"):
        if image.row.id in chosen:
            pair = np.concatenate([image.image, translation(image)], axis=1)
            path = folder / f"worst-{chosen[image.row.id] + 1}.png"
            write_picture(path, pair)
            pictures[chosen[image.row.id]] = {"id": image.row.id, "picture": f"{folder.name}/{path.name}"}
    return pictures


def write_picture(path: Path, image: np.ndarray, *, side: int | None = _PREVIEW_SIDE) -> None:
    """8-bit PNG of a [-1, 1] image for looking at, at most `side` rows high."""
    picture = Image.fromarray(np.rint((np.clip(image, -1, 1) + 1) * 127.5).astype(np.uint8))
    if side is not None and picture.height > side:
        width = round(picture.width * side / picture.height)
        picture = picture.resize((width, side), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """JSON with undefined numbers as null."""
    write_text_atomically(path, json.dumps(_plain(results), indent=1, allow_nan=False))


def describe_domain(rows: Sequence[ManifestRow], skipped: int) -> dict[str, Any]:
    """Counts that the report's data card shows; no names, no identities."""
    patients = _patients(rows)
    sizes = sorted({(row.rows, row.columns) for row in rows})
    return {
        "n_images": len(rows),
        "n_skipped": skipped,
        "n_patients": len(set(patients)) if patients is not None else None,
        "patients_unknown": patients is None,
        "splits": {name: sum(row.split == name for row in rows) for name in SPLITS},
        "matrix_smallest": list(sizes[0]),
        "matrix_largest": list(sizes[-1]),
        "bits_stored": sorted({row.bits_stored for row in rows if row.bits_stored is not None}),
        "spacing_origins": {
            origin: sum(row.spacing_origin == origin for row in rows)
            for origin in sorted({row.spacing_origin for row in rows})
        },
        "structures": list(next((row.structures for row in rows if row.structures), ())),
        "mean_valid_fraction": float(np.mean([row.valid_fraction for row in rows])),
    }


def _measure_image(image: NetworkImage, out: np.ndarray) -> dict[str, Any]:
    edges = edge_displacement(image.image, out, image.valid, spacing_mm=image.row.spacing_mm)
    unit = "px" if image.row.spacing_mm is None else "mm"
    return {
        "id": image.row.id,
        "split": image.row.split,
        "gradient_correlation": gradient_correlation(image.image, out, image.valid),
        "ssim": ssim(image.image, out, image.valid),
        "edge_median": edges[f"median_{unit}"],
        "edge_p95": edges[f"p95_{unit}"],
        "edge_unit": unit,
        "flags": sanity_flags(image.image, out, image.valid),
    }


def _true_image(path: Path, image: NetworkImage, domains: Domains) -> tuple[np.ndarray, np.ndarray]:
    true = require_matrix(path, (image.row.rows, image.row.columns))
    config = domains.data.target_intensity
    mapping = fit_intensity(true, config) if config.fit == "image" else domains.intensities["target"]
    return mapping.to_network(true.pixels, true.header), image.valid & true.valid


def _features(image: np.ndarray, valid: np.ndarray, config: EvaluationConfig) -> np.ndarray:
    return distribution_features(image, valid, feature_size=config.feature_size)


def _stack(features: Sequence[np.ndarray]) -> np.ndarray:
    """(N, D), also for no image at all."""
    return np.reshape(features, (len(features), FEATURE_COUNT))


def _patients(rows: Sequence[ManifestRow]) -> list[str] | None:
    """The patient of each image, or None as soon as one is unknown."""
    patients = [row.patient for row in rows if row.patient is not None]
    return patients if len(patients) == len(rows) else None


def _units(rows: Sequence[ManifestRow]) -> list[str] | None:
    """The patients of images for distances between sets; None when unknown, and for a set of one patient."""
    patients = _patients(rows)
    return patients if patients is not None and len(set(patients)) > 1 else None


def _or_worst(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
