"""What a phantom data set is made of."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medi2i.config import Config, find_preset, load_config
from medi2i.drr.attenuation import AttenuationConfig
from medi2i.drr.film import FilmDistribution
from medi2i.drr.geometry import ConeBeamGeometry, PoseConfig, ViewName
from medi2i.drr.phantom.patient import PatientConfig


class SiteConfig(Config):
    """Where films are made: one look.

    Attributes:
        name: as written to `views.json`.
        weight: share of films from here, relative to the other sites.
        film: a preset of configs/film, or the ranges themselves.
    """

    name: str = Field(default="one_protocol", min_length=1)
    weight: PositiveFloat = 1.0
    film: str | FilmDistribution = "one_protocol"

    def distribution(self) -> FilmDistribution:
        """The ranges of this site's films.

        Raises:
            ConfigError: there is no such preset, or it holds an impossible value.
        """
        if isinstance(self.film, FilmDistribution):
            return self.film
        return load_config(find_preset(self.film, "film"), FilmDistribution)


class PhantomConfig(Config):
    """What to render.

    Attributes:
        seed: same seed and configuration, same files.
        source_patients: patients rendered as DRRs, with masks and paired truth.
        target_patients: other patients rendered as films.
        views_per_patient: radiographs of each patient, in different poses.
        patient: the bodies, and what there is to be found.
        geometry, view, pose: source, detector, direction of the beam, and how patients stand.
        attenuation: how HU become attenuation.
        sites: where films are made; each film's site is drawn.
        mask_threshold_mm: a pixel belongs to a structure if its ray runs further than this inside.
        drr_full_scale: line integral that the largest 16-bit code of a DRR stands for.
        target_masks: whether to write the masks of the target patients' films, apart from them.
        ct: whether to write each source patient's CT and labels too.
        workers: patients rendered at the same time; the files are the same for any number.
    """

    seed: int = Field(default=0, ge=0)
    source_patients: PositiveInt = 24
    target_patients: PositiveInt = 24
    views_per_patient: PositiveInt = 1
    patient: PatientConfig = PatientConfig()
    geometry: ConeBeamGeometry = ConeBeamGeometry(rows=192, columns=192, detector_spacing_mm=(2.0, 2.0))
    view: ViewName = "PA"
    pose: PoseConfig = PoseConfig(yaw_deg=5.0, pitch_deg=4.0, roll_deg=2.5, translation_mm=(8.0, 8.0, 10.0))
    attenuation: AttenuationConfig = AttenuationConfig()
    sites: tuple[SiteConfig, ...] = Field(default=(SiteConfig(),), min_length=1)
    mask_threshold_mm: float = Field(default=1.0, ge=0)
    drr_full_scale: float = Field(default=10.0, gt=0)
    target_masks: bool = False
    ct: bool = False
    workers: int = Field(default=2, ge=1, le=64)

    @model_validator(mode="after")
    def _sites_differ(self) -> PhantomConfig:
        names = [site.name for site in self.sites]
        if len(set(names)) < len(names):
            raise ValueError(f"sites of the same name: {', '.join(names)}")
        return self

    def with_patients(self, count: int) -> PhantomConfig:
        """The same with `count` patients as DRRs and `count` others as films."""
        return self.model_copy(update={"source_patients": count, "target_patients": count})
