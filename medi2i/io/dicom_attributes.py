"""The allow-lists of `dicom_write`: the only attributes that a derived object takes from its source."""

from __future__ import annotations

KEPT_PATIENT_AND_STUDY = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
    "TimezoneOffsetFromUTC",
)
KEPT_ACQUISITION = (
    "Modality",
    "Laterality",
    "ImageLaterality",
    "BodyPartExamined",
    "ViewPosition",
    "ViewCodeSequence",
    "AnatomicRegionSequence",
    "PatientOrientation",
    "AcquisitionDate",
    "AcquisitionTime",
    "Manufacturer",
    "ManufacturerModelName",
    "InstanceNumber",
    "BurnedInAnnotation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "PixelSpacingCalibrationType",
    "PixelSpacingCalibrationDescription",
    "EstimatedRadiographicMagnificationFactor",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
# modules of DX (PS3.3 A.26): kept only where the class stays DX
KEPT_DX = (
    "PositionerType",
    "DetectorType",
    "DetectorActiveShape",
    "FieldOfViewShape",
    "FieldOfViewDimensions",
    "FieldOfViewRotation",
    "FieldOfViewHorizontalFlip",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "AcquisitionContextSequence",
    "PatientPosition",
)
# what DX demands a value of (type 1) and nobody can make up: without it, the result is a Secondary Capture
NEEDED_BY_DX = (
    "ImageLaterality",
    "AnatomicRegionSequence",
    "PatientOrientation",
    "ImagerPixelSpacing",
    "BurnedInAnnotation",
)
# type 2: must be there, may be empty
EMPTY_IF_ABSENT = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "InstanceNumber",
    "PatientOrientation",
    "Manufacturer",
)
EMPTY_IF_ABSENT_IN_DX = ("PositionerType", "DetectorType")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What an object takes that must not stay in its patient: numbers, and words of closed lists. Free text, dates
# and other words may name somebody.
HARMLESS_NUMBERS = (
    "InstanceNumber",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "EstimatedRadiographicMagnificationFactor",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "LossyImageCompressionRatio",
)
HARMLESS_DX_NUMBERS = ("FieldOfViewDimensions", "FieldOfViewRotation")
_SIDES = frozenset({"L", "R", "U", "B"})
_YES_NO = frozenset({"YES", "NO"})
_VIEWS = _words("AP PA LL RL RLD LLD RLO LLO")
_DIRECTIONS = _words("A P L R H F AL AR AH AF PL PR PH PF LA LP LH LF RA RP RH RF HA HP HL HR")
# PS3.16 Annex L: body parts of which there is one
UNPAIRED_PARTS = _words(
    "ABDOMEN ABDOMENPELVIS AORTA BACK BLADDER BRAIN CEREBELLUM CERVIX CHEST CHESTABDOMEN CHESTABDPELVIS "
    "COCCYX COLON CORONARYARTERY CSPINE CTSPINE DUODENUM ESOPHAGUS FACE GALLBLADDER HEAD HEADNECK HEART "
    "ILEUM ILIUM JAW JEJUNUM LARYNX LIVER LSPINE LSSPINE MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NOSE "
    "PANCREAS PELVIS PENIS PHARYNX PROSTATE RECTUM SCALP SKULL SPINE SPLEEN SSPINE STERNUM STOMACH THYMUS "
    "THYROID TLSPINE TONGUE TRACHEA TSPINE URETER URETHRA UTERUS VAGINA VULVA WHOLEBODY"
)
_PAIRED_PARTS = _words(
    "ACJOINT ANKLE ARM BREAST CALCANEUS CLAVICLE ELBOW EXTREMITY FEMUR FINGER FOOT FOREARM HAND HIP HUMERUS "
    "KNEE LEG LOWERLEG LUNG ORBIT PATELLA RADIUS RADIUSULNA RIB SCAPULA SHOULDER SIJOINT THIGH THUMB TIBIA "
    "TIBIAFIBULA TMJOINT TOE ULNA UPPERARM WRIST ZYGOMA"
)
_COMPRESSIONS = frozenset({"ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15"})
_SHAPES = frozenset({"RECTANGLE", "ROUND", "HEXAGONAL"})
HARMLESS_WORDS = {
    "Modality": _words("CR DX RG RF XA MG PX IO RTIMAGE OT"),
    "Laterality": frozenset({"L", "R"}),
    "ImageLaterality": _SIDES,
    "BodyPartExamined": UNPAIRED_PARTS | _PAIRED_PARTS,
    "ViewPosition": _VIEWS,
    "PatientOrientation": _DIRECTIONS,
    "BurnedInAnnotation": _YES_NO,
    "LossyImageCompression": frozenset({"00", "01"}),
    "LossyImageCompressionMethod": _COMPRESSIONS,
    "PixelSpacingCalibrationType": frozenset({"GEOMETRY", "FIDUCIAL"}),  # says which spacing is the patient's
}
HARMLESS_DX_WORDS = {
    "PositionerType": frozenset({"CARM", "COLUMN", "NONE"}),
    "DetectorType": frozenset({"DIRECT", "SCINTILLATOR", "STORAGE", "FILM"}),
    "DetectorActiveShape": _SHAPES,
    "FieldOfViewShape": _SHAPES,
    "FieldOfViewHorizontalFlip": _YES_NO,
    "PixelIntensityRelationship": frozenset({"LIN", "LOG"}),
}
# codes that the standard lists are taken with the standard's words
HARMLESS_CODES = ("ViewCodeSequence", "AnatomicRegionSequence")
