"""Making a derived object keep the standard's rules where its source breaks them.

Archives refuse objects, or parts of them, whose values break the rules of their type, and files of old
equipment and of careless exports have many. What can be said by the rules is said so (dates with dots, words
in lower case, numbers of too many digits); the rest is left out, but for what an archive finds patient and
study by: that stays as it is.
"""

from __future__ import annotations

import math
import re
from typing import Any

from medi2i.io.dicom_attributes import EMPTY_IF_ABSENT, EMPTY_IF_ABSENT_IN_DX, UNPAIRED_PARTS
from medi2i.io.dicom_kind import CR, DX_PRESENTATION, SECONDARY_CAPTURE

_AS_IT_IS = frozenset(
    {"PatientName", "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "StudyID", "AccessionNumber"}
)
_OLD_DATE = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})")  # ACR-NEMA 2.0
_OLD_TIME = re.compile(r"(\d{2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?")
_LONGEST_DECIMAL = 16
_YES_NO = frozenset({"YES", "NO"})
# enumerated values (PS3.3): no other is allowed, and readers refuse them
_ENUMERATED = {
    "PatientSex": frozenset({"M", "F", "O"}),
    "PatientIdentityRemoved": _YES_NO,
    "LongitudinalTemporalInformationModified": frozenset({"UNMODIFIED", "MODIFIED", "REMOVED"}),
    "Laterality": frozenset({"L", "R"}),
    "ImageLaterality": frozenset({"L", "R", "U", "B"}),
    "BurnedInAnnotation": _YES_NO,
    "LossyImageCompression": frozenset({"00", "01"}),
    "PixelSpacingCalibrationType": frozenset({"GEOMETRY", "FIDUCIAL"}),
}


def mend_values(dataset: Any) -> None:
    """Correct or remove values that break the rules of their type, and empty sequences; recursively."""
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                mend_values(item)
            kept = [item for item in element.value if len(item)]
            if kept:
                element.value = kept
            else:
                del dataset[element.tag]
        elif element.keyword not in _AS_IT_IS and not element.is_empty:
            several = element.VM > 1
            values = list(element.value) if several else [element.value]
            mended = [_mend(element.VR, value) for value in values]
            allowed = _ENUMERATED.get(element.keyword)
            if None in mended or (allowed is not None and not allowed.issuperset(mended)):
                del dataset[element.tag]
            elif mended != values:
                element.value = mended if several else mended[0]


def complete_class(created: Any) -> None:
    """Add what the class requires and may be empty, or has one honest value (PS3.3 A.2, A.8, A.26)."""
    is_dx = created.SOPClassUID == DX_PRESENTATION
    for keyword in (*EMPTY_IF_ABSENT, *(EMPTY_IF_ABSENT_IN_DX if is_dx else ())):
        if keyword not in created:
            setattr(created, keyword, None)
    created.PresentationLUTShape = "IDENTITY"
    if created.SOPClassUID == SECONDARY_CAPTURE:
        created.ConversionType = "WSD"  # workstation
    elif created.SOPClassUID == CR:
        for keyword in ("BodyPartExamined", "ViewPosition"):
            if keyword not in created:
                setattr(created, keyword, None)
    _complete_laterality(created)
    if created.get("PixelSpacingCalibrationType"):
        if not created.get("PixelSpacingCalibrationDescription"):
            created.PixelSpacingCalibrationDescription = "As stated by the source image"
    elif "PixelSpacingCalibrationDescription" in created:
        del created.PixelSpacingCalibrationDescription
    if is_dx:
        _complete_dx(created)


def _complete_laterality(created: Any) -> None:
    """Laterality of the series: forbidden for what there is one of, else empty where nobody knows it."""
    part = str(created.get("BodyPartExamined") or "")
    if "ImageLaterality" in created or part in UNPAIRED_PARTS:
        if "Laterality" in created:
            del created.Laterality
    elif "Laterality" not in created:
        created.Laterality = None


def _complete_dx(created: Any) -> None:
    created.PresentationIntentType = "FOR PRESENTATION"
    created.RescaleIntercept, created.RescaleSlope, created.RescaleType = 0, 1, "US"
    if created.get("PixelIntensityRelationship") not in {"LIN", "LOG"}:
        created.PixelIntensityRelationship = "LOG"
    created.PixelIntensityRelationshipSign = -1  # bright, high values are where fewer photons arrive
    if not created.get("LossyImageCompression"):
        created.LossyImageCompression = "00"
    if "AcquisitionContextSequence" not in created:
        created.AcquisitionContextSequence = []


def _mend(vr: str, value: Any) -> Any:
    """The value by the rules of its type; None where it has none."""
    from pydicom import config
    from pydicom.valuerep import format_number_as_ds, validate_value

    mended = value
    if vr == "DS":
        number = float(value)
        if not math.isfinite(number):
            return None
        mended = value if len(str(value)) <= _LONGEST_DECIMAL else format_number_as_ds(number)
    elif vr == "DA":
        mended = _OLD_DATE.sub(r"\1\2\3", str(value))
    elif vr == "TM":
        mended = _OLD_TIME.sub(lambda found: "".join(part or "" for part in found.groups()), str(value))
    elif vr == "CS":
        mended = str(value).strip().upper()
    try:
        validate_value(vr, str(mended) if vr in {"DS", "IS"} else mended, config.RAISE)
    except (ValueError, TypeError):
        return None
    return mended
