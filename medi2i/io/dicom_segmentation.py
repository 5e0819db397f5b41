"""Masks as a DICOM Segmentation object that refers to the radiograph they belong to; needs highdicom."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from medi2i.errors import EnvironmentProblemError, MaskMismatchError
from medi2i.io.atomic import write_bytes_atomically
from medi2i.io.dicom_file import load_dataset, quiet_pydicom
from medi2i.io.dicom_identity import new_uid
from medi2i.io.dicom_origin import software_version
from medi2i.io.guard import decoding

_ANATOMICAL_STRUCTURE = ("91723000", "Anatomical structure")
# SNOMED CT, by what names of structures say; a name that is not here is an anatomical structure of that label
_STRUCTURES = {
    "lung": ("39607008", "Lung"),
    "lungs": ("39607008", "Lung"),
    "left lung": ("44029006", "Left lung"),
    "right lung": ("3341006", "Right lung"),
    "heart": ("80891009", "Heart"),
    "mediastinum": ("72410000", "Mediastinum"),
    "diaphragm": ("5798000", "Diaphragm"),
    "trachea": ("44567001", "Trachea"),
    "aorta": ("15825003", "Aorta"),
    "esophagus": ("32849002", "Esophagus"),
    "stomach": ("69695003", "Stomach"),
    "liver": ("10200004", "Liver"),
    "spleen": ("78961009", "Spleen"),
    "clavicle": ("51299004", "Clavicle"),
    "clavicles": ("51299004", "Clavicle"),
    "left clavicle": ("51299004", "Clavicle"),
    "right clavicle": ("51299004", "Clavicle"),
    "scapula": ("79601000", "Scapula"),
    "left scapula": ("79601000", "Scapula"),
    "right scapula": ("79601000", "Scapula"),
    "humerus": ("85050009", "Humerus"),
    "sternum": ("56873002", "Sternum"),
    "rib": ("113197003", "Rib"),
    "ribs": ("113197003", "Rib"),
    "spine": ("421060004", "Spine"),
}
_NO_DATE, _NO_TIME = "19700101", "000000"


def require_highdicom() -> None:
    """Refuse to begin what can't be ended without highdicom.

    Raises:
        EnvironmentProblemError: it isn't installed.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise EnvironmentProblemError(
            "DICOM SEG",
            found="no highdicom",
            expected="the package that writes segmentation objects",
            remedy="run: pip install 'medi2i[dicom]' (or: pip install highdicom)",
        )


def write_segmentation(
    path: Path, masks: Bool[np.ndarray, "K H W"], structures: Sequence[str], *, image: Path
) -> None:
    """Write masks as a binary DICOM SEG of the patient and study of a DICOM image that was written before.

    Segments are numbered from 1 in the order of `structures`, carry their names as labels, and may overlap;
    an empty one keeps its (empty) frame. The object says that an algorithm made the masks. Identifiers are
    hashes of the image's and of the masks, all segmentations of one image series share one series, and dates
    are the image's, or, where it has none, 1 January 1970, since the standard demands one: the same image and
    masks give the same bytes.

    Args:
        path: file to write, atomically.
        masks: one plane a structure, of the image's matrix.
        structures: a name for each.
        image: the DICOM file that the masks belong to, as `write_derived_radiograph` or
            `write_new_radiograph` wrote it.

    Raises:
        EnvironmentProblemError: highdicom isn't installed.
        MaskMismatchError: another matrix than the image's, no mask, or not one name for each.
        UnreadableImageError: the image can't be read.
        DiskFullError: there is no room.
    """
    require_highdicom()
    with quiet_pydicom():
        shown = load_dataset(image)
        with decoding(image, "a DICOM header", quote=False):
            matrix = int(shown.Rows), int(shown.Columns)
            # names of structures and of the patient may be of any language; highdicom knows few of the others
            shown.decode()
            shown.SpecificCharacterSet = "ISO_IR 192"
        _check(path, masks, structures, matrix)
        with decoding(image, "a DICOM header", quote=False):
            content = _encode(shown, masks, structures)
    write_bytes_atomically(path, content)


def _check(path: Path, masks: np.ndarray, structures: Sequence[str], matrix: tuple[int, int]) -> None:
    if len(structures) == 0 or masks.shape != (len(structures), *matrix):
        raise MaskMismatchError(
            path,
            found=f"masks of shape {masks.shape} for {len(structures)} structure(s)",
            expected=f"(structures, {matrix[0]}, {matrix[1]}), one name a plane, at least one",
            remedy="pass the masks of this image, each with its name",
        )


def _encode(shown: Any, masks: np.ndarray, structures: Sequence[str]) -> bytes:
    import highdicom
    from pydicom.sr.codedict import codes

    held = hashlib.sha256(np.packbits(masks).tobytes())
    held.update(repr((masks.shape, tuple(structures))).encode())
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="medi2i", family=codes.DCM.ArtificialIntelligence, version=software_version()
    )
    created = highdicom.seg.Segmentation(
        source_images=[shown],
        pixel_array=masks.transpose(1, 2, 0)[None],
        segmentation_type="BINARY",
        segment_descriptions=[
            _describe_segment(number, name, algorithm) for number, name in enumerate(structures, start=1)
        ],
        series_instance_uid=new_uid(None, str(shown.SeriesInstanceUID), "segmentations"),
        series_number=min(int(shown.get("SeriesNumber") or 0) + 1, 2**31 - 1),
        sop_instance_uid=new_uid(None, str(shown.SOPInstanceUID), "segmentation", held.hexdigest()),
        instance_number=int(shown.get("InstanceNumber") or 1),
        manufacturer="medi2i",
        manufacturer_model_name="medi2i",
        software_versions=software_version(),
        device_serial_number="none",
        content_label="STRUCTURES",
        content_description="Masks carried along with the image",
        omit_empty_frames=False,
    )
    _complete(created, shown)
    encoded = io.BytesIO()
    created.save_as(encoded)
    return encoded.getvalue()


def _describe_segment(number: int, name: str, algorithm: Any) -> Any:
    import highdicom
    from pydicom.sr.coding import Code

    value, meaning = _STRUCTURES.get(" ".join(name.replace("_", " ").lower().split()), _ANATOMICAL_STRUCTURE)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=Code("123037004", "SCT", "Anatomical Structure"),
        segmented_property_type=Code(value, "SCT", meaning),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )


def _complete(created: Any, shown: Any) -> None:
    """What highdicom leaves out where there is no frame of reference, draws, or takes from the clock."""
    created.PatientOrientation = shown.get("PatientOrientation")
    created.SeriesDescription = "medi2i masks"
    created.ContentDate = shown.get("ContentDate") or _NO_DATE
    created.ContentTime = shown.get("ContentTime") or _NO_TIME
    created.InstanceCreationDate, created.InstanceCreationTime = created.ContentDate, created.ContentTime
    for equipment in created.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in equipment:
            del equipment.ContributionDateTime
    # of an image with PixelSpacing, highdicom writes pixel measures without a slice thickness, of which a
    # projection has none, and refuses to read them; the spacing is the referenced image's
    for groups in created.SharedFunctionalGroupsSequence:
        if "PixelMeasuresSequence" in groups:
            del groups.PixelMeasuresSequence
    dimensions = new_uid(None, str(created.SOPInstanceUID), "dimensions")
    for item in (*created.DimensionOrganizationSequence, *created.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
