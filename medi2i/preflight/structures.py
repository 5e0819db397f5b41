"""Checks of masks: usable, empty, as frequent in both domains, and of the same definition."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medi2i.preflight.findings import Finding
from medi2i.preflight.settings import AuditConfig
from medi2i.preflight.survey import DomainFacts, ImageFacts

_FULL = 0.95  # of the matrix: a mask that covers more is inverted or a frame


def check_structures(source: DomainFacts, target: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    """Masks of each domain, and what both domains' masks say of the gap between label definitions."""
    for domain in (source, target):
        if domain.structures and domain.images:
            yield from _check_masks(domain)
    if source.images and not source.structures and not target.structures:
        yield Finding(
            "no-masks",
            "info",
            "source",
            "the source has no masks",
            "nothing is carried along, and structure is measured on gray values only; add masks/ if you can",
            total=len(source.images),
        )
    yield from _check_prevalence(source, target, config)
    yield from _check_definitions(source, target, config)


def _measured(domain: DomainFacts) -> list[ImageFacts]:
    return [image for image in domain.images if image.masks is not None]


def _areas(images: list[ImageFacts]) -> np.ndarray:
    """(images, structures) share of the matrix."""
    return np.array([image.masks.areas for image in images if image.masks is not None])


def _check_masks(domain: DomainFacts) -> Iterator[Finding]:
    total = len(domain.images)
    wrong = [image for image in domain.images if image.mask_problem is not None]
    if wrong:
        yield Finding(
            "mask-unusable",
            "error",
            domain.domain,
            f"the masks of {len(wrong)} of {total} images can't be used, the first because: "
            f"{wrong[0].mask_problem}",
            "bring the masks to their images' matrix and to the names in dataset.json; a run stops at them",
            tuple(image.id for image in wrong),
            total,
        )
    images = _measured(domain)
    if not images:
        return
    areas = _areas(images)
    empty = [image for image, own in zip(images, areas, strict=True) if not own.any()]
    if empty:
        yield Finding(
            "masks-empty",
            "warning",
            domain.domain,
            f"{len(empty)} of {total} images have empty masks only",
            "check whether the labels were lost; remove these images from the data set otherwise",
            tuple(image.id for image in empty),
            total,
        )
    absent = [
        name for name, own in zip(domain.structures, areas.T, strict=True) if not own.any() and areas.any()
    ]
    if absent:
        yield Finding(
            "structure-absent",
            "warning",
            domain.domain,
            f"no image shows {', '.join(absent)}",
            "take it out of the list of structures, or find out where it was lost",
            total=total,
        )
    full = [image for image, own in zip(images, areas, strict=True) if (own > _FULL).any()]
    if full:
        yield Finding(
            "mask-full",
            "warning",
            domain.domain,
            f"{len(full)} of {total} images have a mask over nearly all of the image",
            "it is inverted, or marks the field; 1 is inside the structure",
            tuple(image.id for image in full),
            total,
        )


def _check_prevalence(source: DomainFacts, target: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    """Structures by name that one domain's images show and the other's do not."""
    images = [_measured(domain) for domain in (source, target)]
    if not all(images):
        return
    total = sum(len(domain.images) for domain in (source, target))
    shares = [
        dict(zip(domain.structures, (_areas(own) > 0).mean(axis=0), strict=True))
        for domain, own in zip((source, target), images, strict=True)
    ]
    common = [name for name in source.structures if name in shares[1]]
    if not common:
        yield Finding(
            "structures-differ",
            "info",
            "both",
            f"no structure has the same name in both domains (source: {', '.join(source.structures)}; "
            f"target: {', '.join(target.structures)})",
            "name those that mean the same alike, else prevalence can't be compared",
            total=total,
        )
    far = [name for name in common if abs(shares[0][name] - shares[1][name]) > config.prevalence_gap]
    if far:
        said = ", ".join(f"{name} {shares[0][name]:.0%} and {shares[1][name]:.0%}" for name in far)
        yield Finding(
            "prevalence-differs",
            "warning",
            "both",
            f"source and target images show structures unequally often: {said}",
            "a discriminator learns this difference, and the translation invents or removes structures: "
            "balance the domains, or use structure losses",
            total=total,
        )


def _check_definitions(source: DomainFacts, target: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    """Whether lungs mean the same in both domains."""
    yield from _check_left_out(source)
    lungs = [
        [
            (image.masks.lung_gap, image.masks.lung_shape)
            for image in domain.images
            if image.masks is not None and image.masks.lung_gap is not None
        ]
        for domain in (source, target)
    ]
    if not all(lungs):
        return
    (gap, shape), (other_gap, other_shape) = (np.median(np.array(own), axis=0) for own in lungs)
    ratio = max(shape / other_shape, other_shape / shape)
    stated = (source.convention, target.convention)
    differ = None not in stated and stated[0] != stated[1]
    if differ or abs(gap - other_gap) > config.lung_gap or ratio > config.lung_shape:
        said = f"stated conventions {stated[0] or 'unknown'} and {stated[1] or 'unknown'}"
        yield Finding(
            "lung-definition",
            "warning",
            "both",
            f"lung masks look differently defined: the gap between the lungs is {gap:.2f} of their outer "
            f"width in the source and {other_gap:.2f} in the target, height through width {shape:.2f} and "
            f"{other_shape:.2f}; {said}",
            "render the masks as readers draw them (medi2i drr --convention film) before any overlap is "
            "compared, and read each score beside the ceiling that the definitions leave",
            total=len(lungs[0]) + len(lungs[1]),
        )


def _check_left_out(source: DomainFacts) -> Iterator[Finding]:
    shares = [
        image.masks.left_out
        for image in source.images
        if image.masks is not None and image.masks.left_out is not None
    ]
    if shares and source.convention != "film":
        share = float(np.median(shares))
        yield Finding(
            "lungs-projected",
            "info",
            "source",
            f"masks as readers of films draw them would leave out {share:.0%} of the projected lungs (median "
            f"of {len(shares)} views): a perfect translation scores Dice {2 * (1 - share) / (2 - share):.2f} "
            "against such masks",
            "use --convention film if you compare with readers' masks",
            total=len(shares),
        )
