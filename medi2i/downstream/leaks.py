"""Whether the run has seen a test film or its patient: yes or no, and nothing else of a film is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medi2i.data.dataset_folder import DatasetFolder, DatasetItem, discover
from medi2i.data.decoding import item_of
from medi2i.data.manifest import load_masks, load_radiograph
from medi2i.errors import SplitLeakError, UnreadableImageError
from medi2i.evaluation import Domains
from medi2i.image import Radiograph


@dataclass
class _Seen:
    """Hashes of what the run has seen; the salt is gone when the check is over."""

    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    pixels: set[bytes] = field(default_factory=set)
    patients: set[bytes] = field(default_factory=set)

    def identity(self, name: str) -> bytes:
        return hmac.new(self.salt, name.strip().encode(), "sha256").digest()


def check_films(
    folder: DatasetFolder,
    domains: Domains,
    locations: Iterable[Path],
    *,
    transductive: bool,
    tick: Callable[[], None] = lambda: None,
) -> bool:
    """Refuse films that the run has seen, by pixels or by patient, and masks that fit no film.

    It opens every film, and tells yes or no: no number of a film reaches a training. Pixels are compared
    decoded, freed of bit depth and polarity; a constant image is like no other. Resized or cropped copies are
    not found. A patient of one name in two folders is one patient. Films that can't be read are left to the
    scoring, which counts them.

    Args:
        folder: the test films.
        domains: what the run has seen.
        locations: the run's folders of source and target, whose tables name patients.
        transductive: allow such films.
        tick: called for each image.

    Returns:
        whether the run has seen any of them.

    Raises:
        SplitLeakError: it has, and that is not allowed; or one film belongs to two patients.
        MaskMismatchError: masks of another matrix than their film's, or that are not binary.
    """
    seen = _remember(domains, locations, tick)
    of_pixels = of_patients = 0
    owners: dict[bytes, str | None] = {}
    for item in folder.items:
        tick()
        try:
            film = load_radiograph(item)
        except UnreadableImageError:
            continue
        if item.mask is not None:
            load_masks(item.mask, folder.structures, film.pixels.shape)
        name = film.patient_id or item.patient
        pixels = hash_pixels(film)
        if name != owners.setdefault(pixels, name):
            raise _of_two_patients(item)
        of_pixels += pixels in seen.pixels
        of_patients += name is not None and seen.identity(name) in seen.patients
    if (of_pixels or of_patients) and not transductive:
        raise SplitLeakError(
            folder.root,
            found=f"of {len(folder.items)} test films, the run has seen the pixels of {of_pixels} and the "
            f"patient of {of_patients}",
            expected="films and patients that were no part of the run, not even without labels",
            remedy="leave them out, or allow them with --transductive, which the verdict then says",
        )
    return bool(of_pixels or of_patients)


def _of_two_patients(item: DatasetItem) -> SplitLeakError:
    return SplitLeakError(
        item.path,
        found="a film whose pixels are also those of another patient's film",
        expected="each film once, or all of its copies with one patient",
        remedy="remove the copy, or mend patients.csv: else it is trained on and tested on",
    )


def hash_pixels(radiograph: Radiograph) -> bytes:
    """The same for one picture at 8 and 16 bit, inverted or not; of a constant one: random.

    Pixels are stretched to 0 to 255, which any bit depth of the same picture rounds to alike.
    """
    pixels = radiograph.pixels
    low, high = float(pixels.min()), float(pixels.max())
    if not high > low:
        return secrets.token_bytes(32)
    codes = np.rint((pixels.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)
    both = sorted(sense.tobytes() for sense in (codes, 255 - codes))
    return hashlib.sha256(repr(codes.shape).encode() + both[0]).digest()


def _remember(domains: Domains, locations: Iterable[Path], tick: Callable[[], None]) -> _Seen:
    seen = _Seen()
    named = {item.path.resolve(): item.patient for place in locations for item in discover(place).items}
    for rows, root in ((domains.source, domains.source_root), (domains.target, domains.target_root)):
        for row in rows:
            tick()
            item: DatasetItem = item_of(row, root)
            try:
                image = load_radiograph(item)
            except UnreadableImageError:
                continue
            seen.pixels.add(hash_pixels(image))
            name = image.patient_id or named.get(item.path.resolve())
            if name is not None:
                seen.patients.add(seen.identity(name))
    return seen
