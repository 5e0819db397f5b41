"""Checks of what the domains are made of: files, patients, splits, and which folder is which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from medi2i.data.tables import SPLITS
from medi2i.preflight.findings import Finding
from medi2i.preflight.settings import AuditConfig
from medi2i.preflight.survey import DomainFacts, ImageFacts

_TRAINABLE = 3  # different images: training, validation, test


def check_sets(source: DomainFacts, target: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    """Unreadable files, too few images, patients, the user's splits, and swapped folders."""
    for domain in (source, target):
        yield from _check_folder(domain)
        if domain.images:
            yield from _check_counts(domain, config)
            yield from _check_patients(domain, config)
            yield from _check_splits(domain)
    yield from _check_roles(source, target)


def _check_folder(domain: DomainFacts) -> Iterator[Finding]:
    if domain.problem is not None:
        yield Finding(
            "folder-unusable",
            "error",
            domain.domain,
            "the folder's tables or masks contradict its images, so nothing else of it was checked",
            "mend what the audit names on the terminal; see docs/dataset-folder.md",
            detail=domain.problem,
        )
    if domain.unusable:
        total = len(domain.images) + len(domain.unusable)
        yield Finding(
            "unreadable",
            "warning",
            domain.domain,
            f"{len(domain.unusable)} of {total} images can't be used, the first because: "
            f"{domain.unusable[0].reason}",
            "mend or remove them; a run skips them and ends with exit code 3",
            tuple(image.id for image in domain.unusable),
            total,
        )


def _check_counts(domain: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    different = len({image.sha256 for image in domain.images})
    if different >= config.fewest_images:
        return
    yield Finding(
        "few-images",
        "error" if different < _TRAINABLE else "warning",
        domain.domain,
        f"{different} different image(s)",
        f"add images: {_TRAINABLE} are the least that can be split, {config.fewest_images} the least that "
        "show how a domain varies",
        total=len(domain.images),
    )


def _check_patients(domain: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    images, total = domain.images, len(domain.images)
    unknown = tuple(image.id for image in images if image.patient is None)
    known = {image.patient for image in images if image.patient is not None}
    if unknown:
        yield Finding(
            "patients-unknown",
            "warning",
            domain.domain,
            f"the patient of {len(unknown)} of {total} images is unknown: each counts as one, so images of "
            "one patient may be on both sides of the split, and intervals are too narrow",
            "name them in patients.csv",
            unknown,
            total,
        )
    if len(known) == 1 and not unknown:
        yield Finding(
            "one-patient",
            "warning",
            domain.domain,
            f"all {total} images are of one patient: the split can only be by image, no interval over "
            "patients can be given, and one anatomy is learned by heart",
            "add patients; if there are none, add phantom patients or vary pose and framing, and make no "
            "claim beyond this patient",
            total=total,
        )
    elif domain.patients < config.exploratory_patients:
        yield Finding(
            "few-patients",
            "info",
            domain.domain,
            f"{domain.patients} patients in {total} images: results are exploratory below "
            f"{config.exploratory_patients}",
            "say so where numbers are shown",
            total=total,
        )


def _check_splits(domain: DomainFacts) -> Iterator[Finding]:
    images, total = domain.images, len(domain.images)
    if not all(image.split for image in images):
        return
    sides: dict[str, set[str]] = defaultdict(set)
    for image in images:
        if image.patient is not None:
            sides[image.patient].add(image.split)
    leaked = [patient for patient, splits in sides.items() if len(splits) > 1]
    if leaked:
        yield Finding(
            "patient-in-two-splits",
            "error",
            domain.domain,
            f"{len(leaked)} patient(s) are on several sides of the split in patients.csv",
            "put each patient on one side; a run refuses this split",
            tuple(image.id for image in images if image.patient in leaked),
            total,
        )
    empty = [name for name in SPLITS if all(image.split != name for image in images)]
    if empty:
        yield Finding(
            "split-empty",
            "error",
            domain.domain,
            f"no image has the split {' or '.join(empty)}",
            "fill all three splits in patients.csv, or leave the column out",
            total=total,
        )


def _check_roles(source: DomainFacts, target: DomainFacts) -> Iterator[Finding]:
    shared = {image.sha256 for image in source.images} & {image.sha256 for image in target.images}
    same = _having(source, shared) + _having(target, shared)
    if same:
        yield Finding(
            "same-images",
            "error",
            "both",
            f"{len(shared)} image(s) are in both domains, byte for byte",
            "check --src and --tgt: a run refuses to translate a domain into itself",
            tuple(image.id for image in same),
            len(source.images) + len(target.images),
        )
    if target.structures and not source.structures and source.images:
        yield Finding(
            "domains-swapped",
            "warning",
            "both",
            "the target has masks and the source has none: translation carries the source's masks, so the "
            "folders look swapped",
            "give the labelled DRRs as --src and the X-rays as --tgt",
        )
    patients = [{image.patient for image in domain.images} - {None} for domain in (source, target)]
    both = patients[0] & patients[1]
    if both and not same:
        yield Finding(
            "patient-in-both-domains",
            "info",
            "both",
            f"{len(both)} patient(s) are in both domains",
            "keep them on the same side in both patients.csv, so that no test patient is trained on",
            tuple(image.id for d in (source, target) for image in d.images if image.patient in both),
            len(source.images) + len(target.images),
        )


def _having(domain: DomainFacts, contents: set[str]) -> list[ImageFacts]:
    return [image for image in domain.images if image.sha256 in contents]
