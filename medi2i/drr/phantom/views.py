"""Views of phantom patients: DRR, masks and film, each from its own stream of random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt16

from medi2i.drr.film import Film, FilmDistribution, render_film
from medi2i.drr.geometry import Camera, Pose, make_camera
from medi2i.drr.phantom.patient import PhantomPatient, sample_patient
from medi2i.drr.phantom.settings import PhantomConfig, SiteConfig
from medi2i.drr.projection import Projection, prepare_patient, project_view
from medi2i.errors import UsageError

# one stream each, so that a change to what one of them draws leaves the others as they were
_BODY, _POSE, _SITE, _FILM = range(4)
FULL_CODE = 65535


@dataclass(frozen=True, slots=True)
class PhantomView:
    """One radiograph of one patient, in both looks.

    Attributes:
        patient: number of the patient, source patients first.
        number: of the view of this patient.
        pose, camera: how it was taken.
        projection: line integrals, path lengths, and where rays were seen whole.
        site: where the film was made.
        film: pixel on pixel over the line integral.
    """

    patient: int
    number: int
    pose: Pose
    camera: Camera
    projection: Projection
    site: str
    film: Film

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"p{self.patient:04d}_v{self.number}"


def phantom_patient(config: PhantomConfig, number: int) -> PhantomPatient:
    """One patient of the data set; source patients come first, then target patients."""
    return sample_patient(config.patient, _rng(config, _BODY, number))


def phantom_views(
    config: PhantomConfig, number: int, patient: PhantomPatient, *, with_structures: bool = True
) -> Iterator[PhantomView]:
    """All views of one patient, rendered one after the other.

    Args:
        config: what to render.
        number: of the patient.
        patient: as `phantom_patient` gives it.
        with_structures: whether to project the labels, which takes longer than the DRR.

    Raises:
        EmptyProjectionError: the detector sees nothing of the patient.
    """
    labels = patient.labels if with_structures else None
    prepared = prepare_patient(patient.volume, labels, config.attenuation)
    for view in range(config.views_per_patient):
        pose = config.pose.sample(_rng(config, _POSE, number, view))
        camera = make_camera(config.geometry, config.view, isocenter_mm=np.zeros(3), pose=pose)
        projection = project_view(prepared, camera)
        site = _draw_site(config, number, view)
        film = _take_film(config, site, projection, camera, number, view)
        yield PhantomView(number, view, pose, camera, projection, site.name, film)


def masks_of(view: PhantomView, threshold_mm: float) -> Bool[np.ndarray, "S H W"]:
    """Pixels whose rays run further than the threshold inside each structure."""
    return view.projection.path_mm > threshold_mm


def drr_codes(view: PhantomView, full_scale: float) -> UInt16[np.ndarray, "H W"]:
    """The line integral as 16-bit codes.

    Raises:
        UsageError: a ray exceeds the full scale.
    """
    line_integral = view.projection.line_integral
    largest = float(line_integral.max())
    if largest > full_scale:
        raise UsageError(
            "drr_full_scale",
            found=f"{full_scale:g}, below a line integral of {largest:.2f}",
            expected="a full scale that no ray exceeds",
            remedy=f"set drr_full_scale to {np.ceil(largest):.0f} or more",
        )
    return np.rint(line_integral / full_scale * FULL_CODE).astype(np.uint16)


def film_codes(view: PhantomView) -> UInt16[np.ndarray, "H W"]:
    """The film bone bright in 16-bit codes; it has only as many grey values as the film's own bits."""
    brightness: Float32[np.ndarray, "H W"] = view.film.brightness().numpy()
    return np.rint(np.clip(brightness, 0, 1) * FULL_CODE).astype(np.uint16)


def _draw_site(config: PhantomConfig, number: int, view: int) -> SiteConfig:
    weights = np.array([site.weight for site in config.sites])
    chosen = _rng(config, _SITE, number, view).choice(len(weights), p=weights / weights.sum())
    return config.sites[int(chosen)]


def _take_film(
    config: PhantomConfig, site: SiteConfig, projection: Projection, camera: Camera, number: int, view: int
) -> Film:
    generator = torch.Generator().manual_seed(int(_rng(config, _FILM, number, view).integers(2**63)))
    paths = projection.line_integral[None] if projection.materials_mm is None else projection.materials_mm
    return render_film(
        torch.from_numpy(paths),
        # stomach and effusions have their levels, as in patients who stand
        _distribution(site).sample(generator, view=config.view, upright=True),
        spacing_mm=camera.detector_spacing_mm,
        magnification=camera.magnification,
        generator=generator,
        valid=torch.from_numpy(projection.valid),
    )


@lru_cache(maxsize=8)
def _distribution(site: SiteConfig) -> FilmDistribution:
    return site.distribution()


def _rng(config: PhantomConfig, stream: int, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, stream, *numbers])
