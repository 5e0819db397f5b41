"""Checks of how images are stored: bit depth, number kinds, matrix, spacing, what readers noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from medi2i.preflight.findings import Finding
from medi2i.preflight.settings import AuditConfig
from medi2i.preflight.survey import DomainFacts, ImageFacts

_FEW_LEVELS = 256
_FEW_FIELDS = 5  # an outlier needs others


def check_storage(source: DomainFacts, target: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    """Mixed or unused bit depth, missing, implausible or odd spacing, sizes, readers' notes."""
    for domain in (source, target):
        if domain.images:
            yield from _check_depth(domain)
            yield from _check_spacing(domain, config)
            yield from _check_notes(domain)
    yield from _check_sizes(source, target)


def _check_depth(domain: DomainFacts) -> Iterator[Finding]:
    images, total = domain.images, len(domain.images)
    depths = Counter(image.bits_stored for image in images)
    if len(depths) > 1:
        common = depths.most_common(1)[0][0]
        said = ", ".join(f"{count} of {_describe(bits)}" for bits, count in depths.most_common())
        yield Finding(
            "mixed-bit-depth",
            "warning",
            domain.domain,
            f"images of several bit depths: {said}",
            "they may come from different chains (raw and presentation, PNG and DICOM): use one kind, or "
            "expect several looks in one domain",
            tuple(image.id for image in images if image.bits_stored != common),
            total,
        )
    coarse = tuple(
        image.id for image in images if (image.bits_stored or 0) > 8 and 1 < image.levels <= _FEW_LEVELS
    )
    if coarse:
        yield Finding(
            "few-gray-levels",
            "info",
            domain.domain,
            f"{len(coarse)} of {total} images have at most {_FEW_LEVELS} gray levels in more than 8 bit",
            "they were 8 bit once; go back to the originals if there are any",
            coarse,
            total,
        )


def _describe(bits: int | None) -> str:
    return "floating point" if bits is None else f"{bits} bit"


def _field_mm(image: ImageFacts) -> float:
    """Longer side of the exposed field."""
    spacing = image.spacing_mm or (0.0, 0.0)
    return max(image.field_px[0] * spacing[0], image.field_px[1] * spacing[1])


def _check_spacing(domain: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    total = len(domain.images)
    known = [image for image in domain.images if image.spacing_mm is not None]
    if len(known) < total:
        yield Finding(
            "spacing-unknown",
            "info",
            domain.domain,
            f"{total - len(known)} of {total} images have no known spacing: numbers are in pixels, not mm",
            "write spacing_mm into dataset.json if you know it",
            tuple(image.id for image in domain.images if image.spacing_mm is None),
            total,
        )
    low, high = config.field_mm
    wrong = [image for image in known if not low <= _field_mm(image) <= high]
    if wrong:
        sides = sorted(_field_mm(image) for image in wrong)
        yield Finding(
            "implausible-spacing",
            "warning",
            domain.domain,
            f"{len(wrong)} of {total} images would show {sides[0]:.0f} to {sides[-1]:.0f} mm on their longer "
            f"side; a chest takes {low:.0f} to {high:.0f} mm",
            "check spacing_mm and its unit (mm, not cm or inches), and whether images were resized after it "
            "was written",
            tuple(image.id for image in wrong),
            total,
        )
    yield from _check_odd_spacing(domain, [image for image in known if image not in wrong], config)


def _check_odd_spacing(
    domain: DomainFacts, known: list[ImageFacts], config: AuditConfig
) -> Iterator[Finding]:
    """Spacings that are possible and still unlike the others', or not square."""
    total = len(domain.images)
    middle = float(np.median([_field_mm(image) for image in known])) if len(known) >= _FEW_FIELDS else 0.0
    far = [
        image
        for image in known
        if middle and not 1 / config.field_ratio <= _field_mm(image) / middle <= config.field_ratio
    ]
    if far:
        yield Finding(
            "odd-spacing",
            "warning",
            domain.domain,
            f"{len(far)} of {total} images show a field unlike the others' {middle:.0f} mm (longer side)",
            "check their spacing",
            tuple(image.id for image in far),
            total,
        )
    oblong = [
        image
        for image in known
        if image.spacing_mm is not None
        and max(image.spacing_mm) / min(image.spacing_mm) >= config.spacing_ratio
    ]
    if oblong:
        yield Finding(
            "pixels-not-square",
            "warning",
            domain.domain,
            f"{len(oblong)} of {total} images have pixels that are not square; those of detectors are",
            "check whether rows and columns were resized differently",
            tuple(image.id for image in oblong),
            total,
        )


def _check_notes(domain: DomainFacts) -> Iterator[Finding]:
    notes = Counter(note for image in domain.images for note in image.notes)
    if notes:
        said = "; ".join(f"{note} ({count})" for note, count in notes.most_common(3))
        yield Finding(
            "reader-notes",
            "info",
            domain.domain,
            f"the reader had remarks: {said}",
            "look at these images",
            tuple(image.id for image in domain.images if image.notes),
            len(domain.images),
        )


def _check_sizes(source: DomainFacts, target: DomainFacts) -> Iterator[Finding]:
    ratios = [
        [image.field_px[1] / image.field_px[0] for image in domain.images] for domain in (source, target)
    ]
    if not all(ratios):
        return
    middle = [float(np.median(ratio)) for ratio in ratios]
    spread = [float(np.ptp(ratio)) for ratio in ratios]
    if max(spread) > 0.2 or abs(middle[0] - middle[1]) > 0.1:
        yield Finding(
            "shapes-differ",
            "info",
            "both",
            "width through height of the exposed fields: "
            f"source {min(ratios[0]):.2f} to {max(ratios[0]):.2f}, "
            f"target {min(ratios[1]):.2f} to {max(ratios[1]):.2f}",
            "render the DRRs with the films' framing (medi2i drr --framing fit), so that shape tells nothing",
            total=len(source.images) + len(target.images),
        )
