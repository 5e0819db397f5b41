"""One patient: what its labels give, and the views that are not there yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

from medi2i.drr.boxes import bounding_box
from medi2i.drr.convention import required_structures
from medi2i.drr.patients import PatientFiles, load_patient
from medi2i.drr.projection import prepare_patient
from medi2i.drr.structures import StructuresConfig, absent_structures, select_structures
from medi2i.errors import InputError, MaskMismatchError, NothingUsableError, UsageError
from medi2i.rendering import records
from medi2i.rendering.settings import DRRConfig
from medi2i.rendering.view import write_view
from medi2i.volume import LabelVolume, Volume

_NOTED_CLIPPING = 0.001  # of an image: a little metal


@dataclass(frozen=True, slots=True)
class PatientResult:
    """What became of one patient.

    Attributes:
        rendered: views made now.
        key: the patient's, once it is known.
        error: why the patient can't be used, or None.
        notes: what a user should know, in plain words.
    """

    rendered: int
    error: InputError | None = None
    notes: tuple[str, ...] = ()
    key: str | None = None


def output_structures(config: DRRConfig, patients: Sequence[PatientFiles]) -> tuple[str, ...]:
    """Structures that every image gets a mask of: those of the first patient that can be read.

    Raises:
        UsageError: a structure's name is unknown.
        InputError: the only patient's files can't be used.
        NothingUsableError: none of several can be used.
    """
    labelled = [files for files in patients if files.labels is not None]
    if not labelled:
        _require_no_wish_for_labels(config, patients)
        return ()
    for files in labelled:
        try:
            labels = load(config, files)[1]
        except InputError as error:
            if len(labelled) == 1:
                raise
            last = error
            continue
        return () if labels is None else select_structures(labels, config.structures).structures
    raise NothingUsableError(
        "patients",
        found=f"none of {len(labelled)} that can be read; the last: {last}",
        expected="at least one CT with labels",
        remedy="mend what the message names",
    )


def _require_no_wish_for_labels(config: DRRConfig, patients: Sequence[PatientFiles]) -> None:
    """Refuse to make images without masks for somebody who asked for what takes labels.

    Raises:
        UsageError: structures, a convention, path lengths or an isocentre are asked for.
    """
    wishes = {
        "structures": config.structures != StructuresConfig(),
        f"convention {config.convention.convention}": config.convention.convention != "projected",
        "path lengths": config.path_lengths,
        "an isocenter in a structure": bool(config.isocenter),
    }
    asked = [wish for wish, is_asked in wishes.items() if is_asked]
    if asked:
        raise UsageError(
            patients[0].ct if len(patients) == 1 else "patients",
            found=f"no labels, but {' and '.join(asked)} asked for",
            expected="labels.nii.gz or segmentations/ beside the CT, or --labels",
            remedy="give the labels, or drop what needs them",
        )


def render_patient(
    config: DRRConfig,
    files: PatientFiles,
    *,
    structures: tuple[str, ...],
    out: Path,
    device: str,
    stopped: Callable[[], bool],
    finished: Callable[[], object],
) -> PatientResult:
    """Render the views of one patient that have no record yet.

    Args:
        config: what to render.
        files: the patient's CT and labels.
        structures: masks that every image of the data set has.
        out: folder of the rendering.
        device: where to compute.
        stopped: asked before each view whether to stop.
        finished: called for each view that is there.

    Returns:
        what became of the patient; an unusable one is no exception.

    Raises:
        DiskFullError: there is no room; finished views stay.
    """
    try:
        key = files.key
        missing = records.missing_views(out, key, config.views)
        for _ in range(config.views - len(missing)):
            finished()
        if not missing or stopped():
            return PatientResult(0, key=key)
        volume, labels = load(config, files)
        chosen = choose_labels(config, files, labels, structures)
        isocenter_mm = find_isocenter(config, volume, labels)
        patient = prepare_patient(volume, chosen, config.attenuation, step_mm=config.step_mm, device=device)
    except InputError as error:
        return PatientResult(0, error)
    rendered, most_clipped = 0, 0.0
    for view in missing:
        if stopped():
            break
        try:
            clipped = write_view(
                out,
                config,
                patient,
                key=key,
                view=view,
                isocenter_mm=isocenter_mm,
                structures=structures,
            )
        except InputError as error:
            return PatientResult(rendered, error, volume.notes, key)
        most_clipped = max(most_clipped, clipped)
        rendered += 1
        finished()
    notes = (*volume.notes, *(() if chosen is None else chosen.notes))
    if most_clipped > _NOTED_CLIPPING:
        notes += (f"up to {100 * most_clipped:.1f} % of an image is above full_scale {config.full_scale:g}",)
    return PatientResult(rendered, notes=notes, key=key)


def find_isocenter(
    config: DRRConfig, volume: Volume, labels: LabelVolume | None
) -> Float64[np.ndarray, " 3"]:
    """Middle of the box around the configured structures, or of the CT, in patient coordinates.

    Raises:
        MaskMismatchError: the structures have no voxel, or there are no labels.
    """
    if not config.isocenter:
        return volume.center_mm
    if labels is None:
        raise MaskMismatchError(
            "isocenter",
            found="no labels",
            expected=f"labels of {', '.join(config.isocenter)}",
            remedy="give --labels, or leave isocenter empty for the CT's middle",
        )
    selection = config.structures.model_copy(update={"names": config.isocenter})
    chosen = select_structures(labels, selection)
    belongs: Bool[np.ndarray, " N"] = np.any(chosen.membership, axis=1)
    box = bounding_box(belongs[chosen.codes], chosen.affine)
    if box is None:
        raise MaskMismatchError(
            "isocenter",
            found=f"no voxel of {', '.join(config.isocenter)}",
            expected="a CT that holds them",
            remedy="choose other structures, or leave isocenter empty for the CT's middle",
        )
    middle = (np.array(box.shape) - 1) / 2
    return np.asarray(box.affine[:3, :3] @ middle + box.affine[:3, 3])


def load(config: DRRConfig, files: PatientFiles) -> tuple[Volume, LabelVolume | None]:
    """CT and labels of one patient.

    Raises:
        InputError: a file can't be used.
    """
    return load_patient(
        files,
        label_names=config.structures.label_names,
        resample=config.resample_labels,
        without_table=config.remove_table,
    )


def choose_labels(
    config: DRRConfig, files: PatientFiles, labels: LabelVolume | None, structures: tuple[str, ...]
) -> LabelVolume | None:
    """The data set's structures and those that its convention needs.

    Raises:
        MaskMismatchError: this patient's labels lack some of them.
    """
    if not structures:
        return None
    if labels is None:
        raise MaskMismatchError(
            files.ct,
            found="no labels",
            expected="labels, as the first patient has",
            remedy="add them, or leave the patient out",
        )
    # what is known and has no voxel is not in this CT: an empty mask is true. What is unknown may be there
    absent: Literal["empty", "refuse"] = "refuse" if config.structures.absent == "refuse" else "empty"
    selection = config.structures.model_copy(update={"names": structures, "absent": absent})
    unlabelled = absent_structures(labels, selection) if config.structures.absent == "drop" else ()
    if unlabelled:
        raise MaskMismatchError(
            files.ct,
            found=f"no labels of {', '.join(unlabelled)}",
            expected="the structures that the other patients have",
            remedy="label them, leave the patient out, or set structures.absent=empty for empty masks",
        )
    try:
        chosen = select_structures(labels, selection)
        available = (*chosen.structures, *labels.structures)
        needed = {
            name for view in config.view for name in required_structures(config.convention, available, view)
        }
    except UsageError as error:  # here it is this patient that lacks something
        raise MaskMismatchError(
            files.ct, found=error.found, expected=error.expected, remedy=error.remedy
        ) from error
    more = [name for name in labels.structures if name in needed and name not in structures]
    return chosen.join(labels.regroup({name: (name,) for name in more}))
