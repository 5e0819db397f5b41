"""Checks of what images show: nothing, the wrong polarity, another view, collimation, writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from medi2i.preflight.findings import Finding
from medi2i.preflight.settings import AuditConfig
from medi2i.preflight.survey import DomainFacts, ImageFacts
from medi2i.preflight.typical import agree, find_typical, keep_middle

_FEWEST = 5  # images that a typical one can be made of
_FRONTAL = ("PA", "AP")


def check_content(source: DomainFacts, target: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    """Constant, inverted, unlike, collimated and written-on images, and domains unlike each other."""
    for domain in (source, target):
        if domain.images:
            yield from _check_constant(domain, config)
            yield from _check_kinds(domain, config)
            yield from _check_views(domain)
            yield from _check_collimation(domain, config)
            yield from _check_writing(domain)
    yield from _check_domains(source, target, config)


def is_constant(image: ImageFacts, config: AuditConfig) -> bool:
    """Whether an image shows nothing."""
    return image.contrast < config.contrast_below or float(np.ptp(image.thumbnail)) == 0


def _thumbnails(domain: DomainFacts, config: AuditConfig) -> tuple[list[ImageFacts], np.ndarray]:
    shown = [image for image in domain.images if not is_constant(image, config)]
    return shown, np.array([image.thumbnail for image in shown])


def _check_constant(domain: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    empty = [image for image in domain.images if is_constant(image, config)]
    if empty:
        yield Finding(
            "constant-image",
            "warning",
            domain.domain,
            f"{len(empty)} of {len(domain.images)} images are constant or nearly so",
            "remove them; if they look right in a viewer, their bit depth is stated too high",
            tuple(image.id for image in empty),
            len(domain.images),
        )


def _check_kinds(domain: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    """Images that are inverted, or that agree with what is typical of their domain in no framing."""
    images, thumbnails = _thumbnails(domain, config)
    if len(images) < _FEWEST:
        return
    typical = find_typical(thumbnails)
    worst = agree(thumbnails, typical)[1]
    best = agree(keep_middle(thumbnails), keep_middle(typical[None])[0])[0]
    inverted = worst <= config.inverted_below
    unlike = (best < config.unlike_below) & ~inverted
    if inverted.any():
        yield Finding(
            "inverted-image",
            "warning",
            domain.domain,
            f"{inverted.sum()} of {len(images)} images are inverted against the others (bone dark)",
            "invert them, or mend PhotometricInterpretation; bone is bright here",
            tuple(image.id for image, chosen in zip(images, inverted, strict=True) if chosen),
            len(images),
        )
    if unlike.any():
        yield Finding(
            "unlike-others",
            "warning",
            domain.domain,
            f"{unlike.sum()} of {len(images)} images are unlike the others: a lateral among frontal films, "
            "another body part, a turned or a failed film (or a very unusual patient)",
            "look at them; remove those that do not belong, or turn them upright",
            tuple(image.id for image, chosen in zip(images, unlike, strict=True) if chosen),
            len(images),
        )


def _check_views(domain: DomainFacts) -> Iterator[Finding]:
    stated = Counter(image.view for image in domain.images if image.view is not None)
    frontal = sum(count for view, count in stated.items() if view in _FRONTAL)
    others = {view: count for view, count in stated.items() if view not in _FRONTAL}
    total = len(domain.images)
    if frontal and others:
        rarer = others if sum(others.values()) <= frontal else dict.fromkeys(_FRONTAL)
        said = ", ".join(f"{count} {view}" for view, count in stated.most_common())
        yield Finding(
            "mixed-views",
            "warning",
            domain.domain,
            f"frontal and other views by what headers and tables say: {said}",
            "keep one view a domain, or train one translation a view",
            tuple(image.id for image in domain.images if image.view in rarer),
            total,
        )
    elif len(stated) > 1:
        said = ", ".join(f"{count} {view}" for view, count in stated.most_common())
        yield Finding(
            "views", "info", domain.domain, f"views: {said}", "compare with the other domain's", total=total
        )


def _check_collimation(domain: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    total = len(domain.images)
    hidden = [image for image in domain.images if image.exposed < config.exposed_below]
    if hidden:
        least = min(image.exposed for image in hidden)
        yield Finding(
            "collimated",
            "warning",
            domain.domain,
            f"{len(hidden)} of {total} images show something on less than {config.exposed_below:.0%} of the "
            f"matrix (the least: {least:.0%}): collimated, padded, or beside the CT",
            "crop them to the exposed field; what is hidden is not counted, but the field's shape differs "
            "from the other images'",
            tuple(image.id for image in hidden),
            total,
        )
    bordered = [image for image in domain.images if config.exposed_below <= image.exposed < 0.99]
    if bordered:
        yield Finding(
            "borders",
            "info",
            domain.domain,
            f"{len(bordered)} of {total} images have a border without image (median of all: "
            f"{np.median([image.exposed for image in domain.images]):.0%} exposed)",
            "none needed: borders are left out of training and of all numbers",
            tuple(image.id for image in bordered),
            total,
        )


def _check_writing(domain: DomainFacts) -> Iterator[Finding]:
    total = len(domain.images)
    written = [image for image in domain.images if image.writing.lines]
    marked = [image for image in domain.images if image.writing.marks and not image.writing.lines]
    if written:
        yield Finding(
            "burned-in-text",
            "warning",
            domain.domain,
            f"{len(written)} of {total} images have lines of text burned in: they may name a patient, and a "
            "translation learns to write",
            "check them for identities before anything is shared; crop or mask them (valid/)",
            tuple(image.id for image in written),
            total,
        )
    if marked:
        yield Finding(
            "marks",
            "info",
            domain.domain,
            f"{len(marked)} of {total} images have small bright marks: letters of the side, clips, metal",
            "expect marks in translations if only the target has them; mask them (valid/) to prevent it",
            tuple(image.id for image in marked),
            total,
        )


def _check_domains(source: DomainFacts, target: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    """Whether the typical images of both domains show the same thing."""
    typical = []
    for domain in (source, target):
        images, thumbnails = _thumbnails(domain, config)
        if len(images) < _FEWEST:
            return
        typical.append(find_typical(thumbnails))
    total = len(source.images) + len(target.images)
    best, worst = (float(value[0]) for value in agree(typical[0][None], typical[1]))
    if worst <= config.inverted_below and best < config.domains_unlike_below:
        yield Finding(
            "polarity-differs",
            "error",
            "both",
            "the typical source image is the typical target image inverted",
            "invert one of the domains so that bone is bright in both",
            total=total,
        )
    elif best < config.domains_unlike_below:
        yield Finding(
            "domains-unlike",
            "warning",
            "both",
            f"both domains' typical images agree by {best:.2f} only (frontal chests: 0.7 to 1): another "
            "view, body part or framing",
            "compare a few images of each; render the DRRs in the films' view and framing",
            total=total,
        )
