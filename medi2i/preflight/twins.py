"""Images that are nearly the same, within a domain and across domains, mirrored ones too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from medi2i.preflight.findings import Finding
from medi2i.preflight.looks import make_fingerprint
from medi2i.preflight.settings import AuditConfig
from medi2i.preflight.survey import DomainFacts, ImageFacts

_ROWS = 512  # of the matrix of similarities that are held at a time


@dataclass(frozen=True, slots=True)
class Twins:
    """Two images that are nearly the same."""

    first: ImageFacts
    second: ImageFacts
    mirrored: bool


def find_twins(
    first: tuple[ImageFacts, ...], second: tuple[ImageFacts, ...] | None, similarity: float
) -> list[Twins]:
    """Pairs whose fingerprints, or fingerprint and mirrored fingerprint, correlate at least so much.

    Files that are the same byte for byte always count; constant images never do otherwise.

    Args:
        first: images.
        second: of another domain; None to look within the first.
        similarity: least correlation.
    """
    others = first if second is None else second
    if not first or not others:
        return []
    own = np.stack([make_fingerprint(image.thumbnail) for image in first])
    theirs, mirrored = (
        np.stack([make_fingerprint(image.thumbnail[:, ::step]) for image in others]) for step in (1, -1)
    )
    contents = np.array([image.sha256 for image in others])
    found = []
    for start in range(0, len(first), _ROWS):
        for row, upright, turned in _correlate(own, theirs, mirrored, start):
            same = (upright >= similarity) | (contents == first[row].sha256)
            for column in np.flatnonzero(same | (turned >= similarity)):
                if second is not None or column > row:
                    found.append(Twins(first[row], others[column], mirrored=not same[column]))
    return found


def check_twins(source: DomainFacts, target: DomainFacts, config: AuditConfig) -> Iterator[Finding]:
    """Near-duplicates of one and of different patients, on two sides of a split, and across domains."""
    for domain in (source, target):
        pairs = find_twins(domain.images, None, config.twin_similarity)
        leaking = [pair for pair in pairs if pair.first.split != pair.second.split]
        strangers = [pair for pair in pairs if pair not in leaking and not _same_patient(pair)]
        known = [pair for pair in pairs if pair not in leaking and _same_patient(pair)]
        total = len(domain.images)
        if leaking:
            yield Finding(
                "duplicate-across-splits",
                "error",
                domain.domain,
                f"{len(leaking)} pair(s) of nearly the same image are on different sides of the split"
                + _mirrored(leaking),
                "keep one of each pair, or put both on one side",
                _ids(leaking),
                total,
            )
        if strangers:
            yield Finding(
                "near-duplicate",
                "warning",
                domain.domain,
                f"{len(strangers)} pair(s) of nearly the same image that no patient joins"
                + _mirrored(strangers),
                "remove one of each pair or give both the same patient, else a split by patient leaks",
                _ids(strangers),
                total,
            )
        if known:
            yield Finding(
                "alike-within-patient",
                "info",
                domain.domain,
                f"{len(known)} pair(s) of nearly the same image of one patient" + _mirrored(known),
                "they count as less than two images; vary pose and framing more",
                _ids(known),
                total,
            )
    across = find_twins(source.images, target.images, config.twin_similarity)
    across = [pair for pair in across if pair.first.sha256 != pair.second.sha256]
    if across:
        yield Finding(
            "duplicate-across-domains",
            "warning",
            "both",
            f"{len(across)} pair(s) of nearly the same image, one in each domain" + _mirrored(across),
            "check --src and --tgt; pairs belong into --truth, which is never trained on",
            _ids(across),
            len(source.images) + len(target.images),
        )


def _correlate(
    own: Float64[np.ndarray, "N 1024"],
    theirs: Float64[np.ndarray, "M 1024"],
    mirrored: Float64[np.ndarray, "M 1024"],
    start: int,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Similarities of some rows with all images, upright and mirrored."""
    block = own[start : start + _ROWS]
    upright, turned = block @ theirs.T, block @ mirrored.T
    yield from ((start + row, upright[row], turned[row]) for row in range(len(block)))


def _same_patient(pair: Twins) -> bool:
    return pair.first.patient is not None and pair.first.patient == pair.second.patient


def _ids(pairs: list[Twins]) -> tuple[str, ...]:
    return tuple(sorted({image.id for pair in pairs for image in (pair.first, pair.second)}))


def _mirrored(pairs: list[Twins]) -> str:
    count = sum(pair.mirrored for pair in pairs)
    return f" ({count} mirrored)" if count else ""
