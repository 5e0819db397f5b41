"""Which part of a shadow its mask shows: all of it, or what a reader draws on a film.

A lung goes on where a film shows none: in the recess behind and below the diaphragm's dome, and behind the
spine and the heart. 27 % of a CT's lung volume lies outside conventional film masks (arXiv:2402.11510), which
no translation of images can mend. A mediastinum goes on below the dome, as aorta and oesophagus in front of
the spine, where readers draw none. So the definition is chosen, and written down with the data.
"""

from __future__ import annotations

import fnmatch
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage

from medi2i.config import Config
from medi2i.drr.geometry import Camera, ViewName
from medi2i.errors import UsageError

Names = tuple[str, ...]
_FILM = "_film"
# Smaller parts, relative to the largest, are stray voxels of an automatic label map.
_SMALLEST_ORGAN = 0.02
# Smaller parts are what is left of a lung beyond the spine, or between heart and dome.
_SMALLEST_PART = 0.05
# Within a window of this share of the spine's length (three vertebrae or more), vertebrae cover this share at
# least of a line through their bodies (discs have no label), and two thirds at most of one through processes.
_COLUMN_WINDOW, _COLUMN_SHARE = 0.25, 0.75


class ConventionConfig(Config):
    """What masks of lungs and mediastinum show. Names may be patterns (`vertebrae_*`); left and right are the
    patient's.

    Attributes:
        convention: `projected`, the whole shadow; `film`, without what lies below the dome and, of a lung in
            a frontal view, behind the spine; `both`, the whole shadow under the structure's name and the
            film's beside it under `<name>_film`.
        lungs_behind_heart: whether film lungs keep what lies behind the heart. Readers differ in it: some
            draw the lung through the heart; by the SCR database's definition (van Ginneken et al., Medical
            Image Analysis 10, 2006) no ray through heart, mediastinum or aorta belongs to a lung.
        transverse_processes: whether a film lung ends at the whole shadow of the vertebrae, whose transverse
            processes make its border a comb, instead of at the column of their bodies. In 63 films with
            radiologists' masks the gap between the lungs is 0.15 of their outer width (median, at half
            height); on a chest CT the column takes 0.16, the whole shadow 0.20.
        lungs: structures that the film convention cuts at dome and spine.
        mediastinum: structures that it cuts at the dome. What of them is the heart's shadow stays whole.
        right_dome, left_dome: organs below the diaphragm; one of each side is needed.
        abdomen: further organs below it, whose shadows count too where labelled.
        spine: what lungs end at in a frontal view; one is needed.
        heart: what lungs end at without `lungs_behind_heart`; one is needed then. Those that are no
            mediastinum keep theirs where they lie below the dome.
        great_vessels: what they end at then, too, where labelled. By the SCR database's definition the
            superior vena cava is not among it.
    """

    convention: Literal["projected", "film", "both"] = "projected"
    lungs_behind_heart: bool = True
    transverse_processes: bool = False
    lungs: Names = ("left_lung", "right_lung", "lungs", "lung_*")
    mediastinum: Names = ("mediastinum",)
    right_dome: Names = ("liver", "abdomen")
    left_dome: Names = ("spleen", "stomach", "abdomen")
    abdomen: Names = (
        "gallbladder",
        "pancreas",
        "kidneys",
        "kidney_*",
        "adrenal_gland_*",
        "duodenum",
        "small_bowel",
        "colon",
    )
    spine: Names = ("spine", "vertebrae", "vertebrae_*")
    heart: Names = ("heart", "heart_*", "mediastinum")
    great_vessels: Names = (
        "great_vessels",
        "aorta",
        "pulmonary_artery",
        "atrial_appendage_left",
        "esophagus",
        "trachea",
    )


def required_structures(config: ConventionConfig, available: Names, view: ViewName = "PA") -> Names:
    """Structures that the convention needs beside those shown, in the order of `available`.

    Args:
        config: the convention; `projected` needs nothing.
        available: names of the structures there are.
        view: a lateral view needs no spine and no heart.

    Raises:
        UsageError: the labels hold no lung, or none of what ends it; names all that is missing.
    """
    if config.convention == "projected":
        return ()
    needed = _needed(config, view)
    missing = [
        f"{purpose} ({' or '.join(names)})"
        for purpose, names in needed.items()
        if not _match(names, available)
    ]
    if missing:
        raise UsageError(
            f"convention '{config.convention}'",
            found=f"no label for {', none for '.join(missing)}",
            expected="lungs, and labels of what ends them on a film",
            remedy="label these structures (TotalSegmentator's task 'total' does), give their names in the "
            "convention's configuration, or use the convention 'projected'",
        )
    used = _below_diaphragm(config, available)
    if not _is_lateral(view):
        used += _match(config.spine, available) + _central(config, available)
    if _match(config.mediastinum, available):
        used += _heart_alone(config, available)
    return tuple(name for name in available if name in used)


def film_masks(
    masks: Bool[np.ndarray, "S H W"],
    structures: Names,
    config: ConventionConfig,
    *,
    view: ViewName = "PA",
    down: tuple[float, float] = (1.0, 0.0),
) -> tuple[Bool[np.ndarray, "T H W"], Names]:
    """Masks by the convention, and their names.

    A film lung is the projected lung less:

    - what lies at or below the diaphragm's dome: the upper contour of the shadow of all abdominal organs,
      found along `down`, line by line. A gap between organs is bridged by a straight line, as the diaphragm
      is one sheet; gas in stomach or colon lies below the contour. Beside the organs' shadow nothing is cut:
      the lateral, and in a lateral view the posterior, costophrenic angle stays. Stray parts of the shadow,
      below 2 % of the largest, are no dome.
    - in a frontal view, what lies behind the spine: the column of vertebral bodies and discs, found in the
      shadow of the vertebrae as the lines along `down` that it covers by 75 % or more, in a window of 25 %
      of its length.
    - without `lungs_behind_heart`, in a frontal view, what lies behind heart, mediastinum and great vessels.

    In a lateral view the lungs overlap the spine and darken it down to the posterior costophrenic angle
    (Herring, Learning Radiology, chapter 2), and are seen through the heart, which lies between them. So only
    the dome ends them: the contour of both sides together, which is the higher dome's.

    A film mediastinum is the projected one less what lies at or below the dome and is not behind or in front
    of the heart: aorta, oesophagus and caval vein on their way down.

    Parts of what is left below 5 % of the largest are nothing that a reader would draw: the tongue of a lung
    that reaches across the spine, slivers between heart and dome.

    Args:
        masks: projected masks, one plane a structure.
        structures: names of the planes.
        config: the convention.
        view: direction of the beam.
        down: (row, column) direction of the patient's feet in the image; see `feet_direction`.

    Raises:
        UsageError: a structure that the convention needs has no plane, or `down` has no length.
    """
    if config.convention == "projected":
        return masks, structures
    required_structures(config, structures, view)
    below = _below_dome(_union(masks, structures, _below_diaphragm(config, structures)), down)
    cut = below | _beside_lungs(masks, structures, config, view, down)
    ends = dict.fromkeys(_match(config.lungs, structures), cut)
    below_heart = below & ~_union(masks, structures, _heart_alone(config, structures))
    ends |= dict.fromkeys(_match(config.mediastinum, structures), below_heart)
    planes = [structures.index(name) for name in ends]
    film = np.stack(
        [
            _without_small_parts(masks[structures.index(name)] & ~end, _SMALLEST_PART)
            for name, end in ends.items()
        ]
    )
    if config.convention == "both":
        names = tuple(name + _FILM for name in ends)
        return np.concatenate([masks, film]), structures + names
    replaced = masks.copy()
    replaced[planes] = film
    return replaced, structures


def feet_direction(camera: Camera) -> tuple[float, float]:
    """(row, column) direction, of length 1, in which the patient's feet lie at the central ray."""
    right, down, _ = camera.camera_from_patient[:3, :3] @ np.array([0.0, 0.0, -1.0])
    row_mm, column_mm = camera.detector_spacing_mm
    row, column = float(down / row_mm), float(right / column_mm)
    length = float(np.hypot(row, column))
    return row / length, column / length


def describe_convention(config: ConventionConfig) -> str:
    """One sentence for whoever uses the masks: `mask_rule` of `dataset.json`."""
    if config.convention == "projected":
        return "each mask is the structure's whole projected shadow"
    behind = (
        "and keep what lies behind the heart"
        if config.lungs_behind_heart
        else "and at the border of heart and mediastinum"
    )
    spine = "shadow of the vertebrae" if config.transverse_processes else "column of vertebral bodies"
    film = (
        "end at the diaphragm's dome (upper contour of the abdominal organs' shadow) and, in frontal views, "
        f"at the {spine} {behind}"
    )
    if config.convention == "both":
        return (
            "each mask is the structure's whole projected shadow; those named *_film are lungs that "
            f"{film}, and a mediastinum that ends at the dome beside the heart"
        )
    return (
        f"lungs {film}; a mediastinum ends at the dome beside the heart; each other mask is the structure's "
        "whole projected shadow"
    )


def _needed(config: ConventionConfig, view: ViewName) -> dict[str, Names]:
    needed = {
        "the lungs": config.lungs,
        "the right dome": config.right_dome,
        "the left dome": config.left_dome,
    }
    if not _is_lateral(view):
        needed["the spine"] = config.spine
        if not config.lungs_behind_heart:
            needed["the heart"] = config.heart
    return needed


def _below_diaphragm(config: ConventionConfig, available: Names) -> Names:
    return _match(config.right_dome + config.left_dome + config.abdomen, available)


def _central(config: ConventionConfig, available: Names) -> Names:
    return () if config.lungs_behind_heart else _match(config.heart + config.great_vessels, available)


def _heart_alone(config: ConventionConfig, available: Names) -> Names:
    whole = _match(config.mediastinum, available)
    return tuple(name for name in _match(config.heart, available) if name not in whole)


def _beside_lungs(
    masks: Bool[np.ndarray, "S H W"],
    structures: Names,
    config: ConventionConfig,
    view: ViewName,
    down: tuple[float, float],
) -> Bool[np.ndarray, "H W"]:
    """What ends the lungs towards the middle."""
    if _is_lateral(view):
        return np.zeros(masks.shape[1:], dtype=bool)
    spine = _union(masks, structures, _match(config.spine, structures))
    if not config.transverse_processes:
        spine = _vertebral_column(spine, down)
    return spine | _union(masks, structures, _central(config, structures))


def _vertebral_column(spine: Bool[np.ndarray, "H W"], down: tuple[float, float]) -> Bool[np.ndarray, "H W"]:
    """The shadow of vertebral bodies and discs, without transverse processes."""
    if not spine.any():
        return spine
    depth, line = _coordinates(spine.shape, down)
    step = np.rint(depth - depth.min()).astype(int)
    # an image that is not upright leaves single places of the upright grid empty, which don't count
    upright = np.zeros((2, int(step.max()) + 1, int(line.max()) + 1))
    upright[0, step, line] = 1.0
    upright[1, step[spine], line[spine]] = 1.0
    window = max(1, round(_COLUMN_WINDOW * (float(np.ptp(step[spine])) + 1)))
    places, covered = ndimage.uniform_filter1d(upright, window, axis=1, mode="constant")
    return np.asarray((covered >= _COLUMN_SHARE * places)[step, line])


def _is_lateral(view: ViewName) -> bool:
    return "lateral" in view


def _match(patterns: Names, available: Names) -> Names:
    return tuple(
        name for name in available if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    )


def _union(masks: Bool[np.ndarray, "S H W"], structures: Names, names: Names) -> Bool[np.ndarray, "H W"]:
    planes = masks[[structures.index(name) for name in names]]
    return np.asarray(planes.any(axis=0))


def _below_dome(organs: Bool[np.ndarray, "H W"], down: tuple[float, float]) -> Bool[np.ndarray, "H W"]:
    """Pixels at or below the upper contour of the organs' shadow, from its first to its last line."""
    depth, line = _coordinates(organs.shape, down)
    organs = _without_small_parts(organs, _SMALLEST_ORGAN)
    if not organs.any():
        return organs
    contour = np.full(int(line.max()) + 1, np.inf)
    np.minimum.at(contour, line[organs], depth[organs])
    known = np.flatnonzero(np.isfinite(contour))
    bridged = np.interp(np.arange(contour.size), known, contour[known], left=np.inf, right=np.inf)
    # rounding of a tilted `down` must not lift a pixel above the contour it defines
    below: np.ndarray = depth >= bridged[line] - 1e-9
    return below


def _coordinates(
    shape: tuple[int, ...], down: tuple[float, float]
) -> tuple[Float64[np.ndarray, "H W"], np.ndarray]:
    """Distance of each pixel along `down`, and the number of the line along `down` on which it lies."""
    length = float(np.hypot(*down))
    if not (np.isfinite(length) and length > 0):
        raise UsageError(
            "down",
            found=str(down),
            expected="the (row, column) direction of the patient's feet",
            remedy="use feet_direction(camera)",
        )
    row, column = np.indices(shape)
    depth = (row * down[0] + column * down[1]) / length
    across = np.rint((column * down[0] - row * down[1]) / length).astype(int)
    return depth, across - across.min()


def _without_small_parts(shadow: Bool[np.ndarray, "H W"], share: float) -> Bool[np.ndarray, "H W"]:
    parts, _ = ndimage.label(shadow, structure=np.ones((3, 3)))
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    kept: np.ndarray = (areas > 0) & (areas >= share * areas.max())
    return np.asarray(kept[parts])
