"""What an object of medi2i says of how it was made: derivation, source image, equipment, weights."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import Any

_CODING_SCHEME = "99MEDI2I"  # PS3.16 CID 7203 has no such derivation, and may be extended


@dataclass(frozen=True, slots=True)
class Making:
    """How an image came about.

    Attributes:
        description: in plain words without identity.
        series: what the series is called.
        method: name of the translation that gave the image its look; None for a plain projection.
        weights_sha256: hash of that method's weights.
        projected: whether the image was computed from a volume.
    """

    description: str
    series: str
    method: str | None = None
    weights_sha256: str | None = None
    projected: bool = False


def describe_making(created: Any, making: Making) -> None:
    """Mark a data set as derived and synthetic, and say how, by whom and with which weights.

    Sets ImageType, SyntheticData, SeriesDescription, DerivationDescription, DerivationCodeSequence and
    ContributingEquipmentSequence.
    """
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    version = software_version()
    weights = f", weights sha256 {making.weights_sha256}" if making.weights_sha256 else ""
    created.ImageType, created.SyntheticData = ["DERIVED", "SECONDARY"], "YES"
    created.SeriesDescription = making.series[:64]
    created.DerivationDescription = f"{making.description}{weights}"[:1024]
    steps = [code_item(codes.DCM.VolumeRendering)] if making.projected else []
    if making.method is not None:
        steps.append(_item("TRANSLATED", _CODING_SCHEME, "Appearance translated by a learned model"))
    if steps:
        created.DerivationCodeSequence = steps
    equipment = Dataset()
    equipment.Manufacturer, equipment.ManufacturerModelName = "medi2i", "medi2i"
    equipment.SoftwareVersions = version
    what = "Image synthesis" if making.method is None else f"Appearance translation by {making.method}"
    equipment.ContributionDescription = f"{what}{weights}"[:1024]
    purpose = codes.DCM.SynthesizingEquipment if making.projected else codes.DCM.ModifyingEquipment
    equipment.PurposeOfReferenceCodeSequence = [code_item(purpose)]
    created.ContributingEquipmentSequence = [equipment]


def refer_to_source(created: Any, class_uid: str, instance_uid: str) -> None:
    """Set SourceImageSequence; an identifier that breaks the standard's rules is not repeated."""
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes
    from pydicom.uid import UID

    if not (UID(class_uid).is_valid and UID(instance_uid).is_valid and is_of_a_known_root(instance_uid)):
        return
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = class_uid, instance_uid
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    reference.PurposeOfReferenceCodeSequence = [code_item(purpose)]
    created.SourceImageSequence = [reference]


def is_of_a_known_root(uid: str) -> bool:
    """Whether an identifier starts as ISO 8824-1 lets it: 0 and 1 with arcs below 40, or 2."""
    first, _, rest = uid.partition(".")
    second = rest.partition(".")[0]
    return first == "2" or (first in {"0", "1"} and second.isdigit() and int(second) < 40)


def code_item(code: Any) -> Any:
    """A code of pydicom's dictionary as an item of a code sequence."""
    return _item(code.value, code.scheme_designator, code.meaning)


def software_version() -> str:
    """Version of this package; "unknown" for a checkout that is not installed."""
    try:
        return metadata.version("medi2i")
    except metadata.PackageNotFoundError:
        return "unknown"


def _item(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning[:64]
    return item
