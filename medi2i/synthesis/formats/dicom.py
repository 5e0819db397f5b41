"""What an archive takes: derived objects of patients who don't exist, and their masks as DICOM SEG."""

from __future__ import annotations

from pathlib import Path

from medi2i.data.dataset_folder import IMAGES, VALID
from medi2i.data.outputs import SEGMENTATIONS
from medi2i.io.atomic import write_stream_atomically
from medi2i.io.dicom_segmentation import require_highdicom, write_segmentation
from medi2i.io.masks import write_mask_folder
from medi2i.io.new_radiograph import VIEWS, NewDicom, write_new_radiograph
from medi2i.synthesis.formats.base import Entries, SetFacts, SetWriter, Written, patient_lines
from medi2i.synthesis.image import SyntheticImage

_SUFFIX = ".dcm"
_DESCRIPTION = "Synthetic radiograph: a labelled projection, translated; for research"


class DicomWriter(SetWriter):
    """`images/*.dcm`, `segmentations/*.dcm` under the same names, `valid/`, and `patients.csv`.

    A patient of the sources is one synthetic patient, the same in every set of the same sources; a set is a
    study, and a run of it a series.
    """

    def __init__(self, out: Path, facts: SetFacts) -> None:
        """As `SetWriter`.

        Raises:
            EnvironmentProblemError: highdicom isn't installed.
        """
        super().__init__(out, facts)
        require_highdicom()

    def write(self, image: SyntheticImage) -> Written:
        """One 16-bit object, and its segmentation."""
        path = self.out / IMAGES / f"{image.name}{_SUFFIX}"
        about = NewDicom(
            patient_key=f"{self.facts.sources_key[:16]}-{image.patient}",
            number=image.number + 1,
            view=image.view if image.view in VIEWS else None,
            study=self.facts.set_key,
            series=image.weights_sha256,
            method=image.method,
            weights_sha256=image.weights_sha256,
            description=_DESCRIPTION,
        )
        write_new_radiograph(path, image.codes, format="dicom", spacing_mm=image.spacing_mm, dicom=about)
        masks = self.out / SEGMENTATIONS / path.name
        masks.parent.mkdir(parents=True, exist_ok=True)
        write_segmentation(masks, image.masks, self.facts.structures, image=path)
        files = [path, masks]
        if not image.valid.all():
            write_mask_folder(self.out / VALID, image.valid[None], (image.name,))
            files.append(self.out / VALID / f"{image.name}.png")
        entry = {"name": path.name, "patient": image.patient, "split": image.split}
        return Written(tuple(file.relative_to(self.out).as_posix() for file in files), entry)

    def finish(self, entries: Entries) -> None:
        """`patients.csv`."""
        write_stream_atomically(self.out / "patients.csv", patient_lines(entries))

    def describe(self) -> str:
        """Objects for an archive."""
        return (
            "Computed Radiography objects of 16 bits in `images/`, each of a synthetic patient and marked as "
            "synthetic and derived (SyntheticData YES); their masks as DICOM SEG in `segmentations/`, where "
            "segments may overlap; `valid/`, 0 where there is no image. Sides are in `patients.csv`."
        )
