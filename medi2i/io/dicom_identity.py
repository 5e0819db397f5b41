"""Whose object a derived one is: its source's patient, or nobody's.

A translated patient radiograph stays in its patient and study, in a new series. Two kinds leave them: what
was computed from a volume (a DRR) gets a synthetic patient, and with `uid_secret` all that may name the
patient is left out. Of the header, these take numbers and words of closed lists only, and none of the
source's own wording. This is no de-identification: whatever the pixels show stays.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import math
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from medi2i.io.dicom_attributes import (
    HARMLESS_CODES,
    HARMLESS_DX_NUMBERS,
    HARMLESS_DX_WORDS,
    HARMLESS_NUMBERS,
    HARMLESS_WORDS,
    KEPT_ACQUISITION,
    KEPT_DX,
    KEPT_PATIENT_AND_STUDY,
)
from medi2i.io.dicom_file import looks_like_dicom, quiet_pydicom, read_texts
from medi2i.io.dicom_origin import code_item
from medi2i.io.format import WriteOptions
from medi2i.io.guard import decoding


def identify(derived: Any, source: Any, options: WriteOptions, *, is_dx: bool) -> None:
    """Give a derived object its patient, study and series, and what is told of the acquisition.

    Args:
        derived: the data set to fill.
        source: data set of the image it was made from.
        options: series, made-up identity and secret.
        is_dx: whether the attributes of the DX modules are wanted.
    """
    from pydicom.uid import generate_uid

    secret = options.uid_secret
    leaves = options.strips_identity or is_computed(source)
    if leaves:
        _copy_harmless(derived, source, is_dx=is_dx)
        _leave_patient(derived, source, options)
    else:
        for keyword in (*KEPT_PATIENT_AND_STUDY, *KEPT_ACQUISITION, *(KEPT_DX if is_dx else ())):
            _copy(derived, source, keyword)
    study = _text(source, "StudyInstanceUID")
    if leaves:
        # of an unknown study every object has its own
        derived.StudyInstanceUID = new_uid(secret, "study", study) if study else generate_uid()
    elif not derived.get("StudyInstanceUID"):
        derived.StudyInstanceUID = generate_uid()
    series = _text(source, "SeriesInstanceUID")
    known = options.series is not None and series
    derived.SeriesInstanceUID = (
        new_uid(secret, "series", series, options.series or "") if known else generate_uid()
    )
    derived.SeriesNumber = _next_series(source)


def is_computed(source: Any) -> bool:
    """Whether an image was computed from a volume: the DRR of a planning system, or one of medi2i."""
    types = source.get("ImageType") or []
    words = [types] if isinstance(types, str) else list(types)
    synthetic = _text(source, "SyntheticData").upper() == "YES"
    return "DRR" in [str(word).strip().upper() for word in words] or (
        synthetic and not source.get("SourceImageSequence")
    )


def make_synthetic_patient(created: Any, key: str) -> None:
    """A patient who doesn't exist, by the made-up identity `key`."""
    created.PatientID, created.PatientName = key[:64], f"Synthetic^{key}"[:64]
    created.PatientIdentityRemoved = "YES"
    created.DeidentificationMethod = "Computed image; no identity was carried over"
    created.StudyID = "1"


def mapped_uid(uid: str, secret: bytes | None) -> str:
    """The identifier that stands for one of the source's: itself, or a hash keyed with the secret."""
    return uid if secret is None else new_uid(secret, "uid", uid)


def new_uid(secret: bytes | None, *facts: str) -> str:
    """An identifier made of a hash of the facts, with a secret one that can't be found again from them."""
    from pydicom.uid import generate_uid

    content = "|".join(("medi2i", *facts)).encode()
    key = secret or b""
    return str(generate_uid(entropy_srcs=[hmac.new(key, content, hashlib.sha512).hexdigest()]))


def may_show_text(path: Path) -> bool:
    """Whether a DICOM file does not say that no text is burned into its pixels; False for other formats.

    Raises:
        UnreadableImageError: the header is damaged.
    """
    if not looks_like_dicom(path):
        return False
    import pydicom

    with quiet_pydicom(), decoding(path, "a DICOM header", quote=False):
        tags = ["BurnedInAnnotation"]
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=tags)
        return _text(dataset, "BurnedInAnnotation").upper() != "NO"


def _leave_patient(derived: Any, source: Any, options: WriteOptions) -> None:
    """Another patient; one who was made up for a DRR may be kept, and an unknown one is one image's alone."""
    known = _text(source, "PatientID")
    made_up = known and _text(source, "PatientName") == f"Synthetic^{known}"
    if options.strips_identity:
        # says nothing of removed identity: that would speak for the pixels, too
        key = options.patient_key or secrets.token_hex(8)
        derived.PatientID, derived.PatientName = key[:64], f"Pseudonym^{key}"[:64]
    else:
        make_synthetic_patient(derived, known if made_up else options.patient_key or secrets.token_hex(8))


def _copy(derived: Any, source: Any, keyword: str) -> None:
    """Take an attribute over; one that can't even be decoded is as good as absent."""
    try:
        if keyword in source:
            derived[keyword] = copy.deepcopy(source[keyword])
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        return


def _copy_harmless(derived: Any, source: Any, *, is_dx: bool) -> None:
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.valuerep import format_number_as_ds

    for keyword in (*HARMLESS_NUMBERS, *(HARMLESS_DX_NUMBERS if is_dx else ())):
        numbers = _numbers(source, keyword)
        if numbers:
            decimal = dictionary_VR(tag_for_keyword(keyword) or 0) == "DS"
            values = [format_number_as_ds(n) if decimal else int(n) for n in numbers]
            setattr(derived, keyword, values if len(values) > 1 else values[0])
    lists = HARMLESS_WORDS | (HARMLESS_DX_WORDS if is_dx else {})
    for keyword, allowed in lists.items():
        words = [word.upper() for word in _texts(source, keyword)]
        if words and allowed.issuperset(words):
            setattr(derived, keyword, words if len(words) > 1 else words[0])
    for keyword in HARMLESS_CODES:
        codes = [_standard_code(item) for item in _items(source, keyword)]
        known = [code_item(code) for code in codes if code is not None]
        if known:
            setattr(derived, keyword, known)


def _standard_code(item: Any) -> Any:
    """The standard's own code and words for the code of an item, None for one that it doesn't list."""
    from pydicom.sr.coding import Code

    value, scheme = _text(item, "CodeValue"), _text(item, "CodingSchemeDesignator")
    # pydicom's comparison knows which codes of SRT are the same; the older SNM3 has the values of SRT
    wanted = Code(value, "SRT" if scheme == "SNM3" else scheme, "")
    return next((code for code in _standard_codes() if code == wanted), None)


@cache
def _standard_codes() -> tuple[Any, ...]:
    """Views (CID 4010) and body parts (CID 4, 4009, 4031), and the chest's code of earlier editions."""
    from pydicom.sr.codedict import Collection
    from pydicom.sr.coding import Code

    collections = [Collection(name) for name in ("CID4010", "CID4009", "CID4", "CID4031")]
    listed = [getattr(collection, name) for collection in collections for name in collection.dir()]
    return (*listed, Code("51185008", "SCT", "Thorax"))


def _items(source: Any, keyword: str) -> list[Any]:
    try:
        value = source.get(keyword) or []
        return [item for item in value if hasattr(item, "get")]
    except (ValueError, TypeError, NotImplementedError):
        return []


def _texts(source: Any, keyword: str) -> list[str]:
    """As `read_texts`; an attribute of an unknown type says nothing."""
    try:
        return read_texts(source, keyword)
    except NotImplementedError:
        return []


def _text(source: Any, keyword: str) -> str:
    texts = _texts(source, keyword)
    return texts[0] if texts else ""


def _numbers(source: Any, keyword: str) -> list[float]:
    try:
        numbers = [float(text) for text in _texts(source, keyword)]
    except ValueError:
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []


def _next_series(source: Any) -> int:
    numbers = _numbers(source, "SeriesNumber")
    return min(max(int(numbers[0]), 0) + 1000, 2**31 - 1) if numbers else 1000
