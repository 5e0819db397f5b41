"""What `medi2i audit` calls a fault: all limits in one place."""

from __future__ import annotations

from pydantic import Field, model_validator

from medi2i.config import Config


class AuditConfig(Config):
    """Limits of the checks.

    Attributes:
        fewest_images: a domain with fewer usable images is too small to learn a look from.
        exploratory_patients: with fewer patients, results are exploratory.
        twin_similarity: correlation of fingerprints from which two images count as the same. Different
            patients' films reach 0.90 (69 and 63 real films), phantom DRRs 0.94.
        inverted_below: least agreement with the domain's typical image, over framings, from which an image
            counts as inverted; 132 real frontal films have -0.18 or more, inverted ones -0.47 or less.
        unlike_below: best agreement in middle frequencies below which an image counts as another view,
            body part or a failed film. 8 of the 132 are below it; phantom laterals have 0.59 at most among
            frontal phantoms.
        domains_unlike_below: best agreement of the two domains' typical images; frontal against frontal has
            0.73 or more, frontal against lateral 0.60 or less.
        field_mm: shortest and longest plausible side of a chest's exposed field at the detector.
        spacing_ratio: row to column spacing, or the other way, from which pixels count as not square.
        field_ratio: field of view against the domain's median from which a spacing counts as wrong.
        exposed_below: share of the matrix; what shows less counts as collimated.
        contrast_below: robust range as a share of the whole, below which an image counts as constant.
        prevalence_gap: how much the share of images with a structure may differ between domains.
        lung_gap: how much the gap between the lungs, in units of their outer width, may differ between
            domains before their masks count as differently defined.
        lung_shape: the same for height through width of both lungs together, as a ratio.
        framing_films: target films whose frame is estimated; 0 for none.
        framing_ratio: ratio of the sides of the shown rectangles from which the framing counts as different.
    """

    fewest_images: int = Field(default=10, ge=1)
    exploratory_patients: int = Field(default=50, ge=1)
    twin_similarity: float = Field(default=0.97, gt=0, lt=1)
    inverted_below: float = Field(default=-0.35, ge=-1, le=0)
    unlike_below: float = Field(default=0.6, ge=-1, le=1)
    domains_unlike_below: float = Field(default=0.65, ge=-1, le=1)
    field_mm: tuple[float, float] = (180.0, 600.0)
    spacing_ratio: float = Field(default=1.25, gt=1)
    field_ratio: float = Field(default=1.8, gt=1)
    exposed_below: float = Field(default=0.8, gt=0, lt=1)
    contrast_below: float = Field(default=0.01, gt=0, lt=1)
    prevalence_gap: float = Field(default=0.3, gt=0, lt=1)
    lung_gap: float = Field(default=0.06, gt=0, lt=1)
    lung_shape: float = Field(default=1.25, gt=1)
    framing_films: int = Field(default=8, ge=0, le=64)
    framing_ratio: float = Field(default=1.2, gt=1)

    @model_validator(mode="after")
    def _field_ascends(self) -> AuditConfig:
        if not 0 < self.field_mm[0] < self.field_mm[1]:
            raise ValueError(f"field_mm {self.field_mm} must ascend above 0")
        return self
