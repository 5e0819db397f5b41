"""Film physics: from the materials that a beam passed to the codes of a digital radiograph.

Tensors in and out, batched, on any device; lengths in mm at the detector, exposure as air kerma in µGy.
"""

from __future__ import annotations

from medi2i.drr.film.annotation import MarkerConfig
from medi2i.drr.film.beam import CollimationConfig, HeelConfig, split_materials
from medi2i.drr.film.detector import ExposureConfig
from medi2i.drr.film.display import DisplayConfig
from medi2i.drr.film.distribution import FilmDistribution
from medi2i.drr.film.optics import SharpnessConfig
from medi2i.drr.film.rendering import Film, FilmConfig, render_film
from medi2i.drr.film.scatter import GridConfig, ScatterConfig
from medi2i.drr.film.tone import StorageConfig, ToneConfig

__all__ = [
    "CollimationConfig",
    "DisplayConfig",
    "ExposureConfig",
    "Film",
    "FilmConfig",
    "FilmDistribution",
    "GridConfig",
    "HeelConfig",
    "MarkerConfig",
    "ScatterConfig",
    "SharpnessConfig",
    "StorageConfig",
    "ToneConfig",
    "render_film",
    "split_materials",
]
