"""What a lung's mask means: the organ's whole shadow, or what readers of films draw.

A CT's lung reaches below the dome of the diaphragm and behind the spine, where a film shows it white. Readers
end the lung at the dome and at the spine, some at the heart's border too. A quarter of the lung's volume lies
outside such masks (27 %, arXiv:2402.11510), so the definition is chosen and written down, never guessed.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from medi2i.config import Config
from medi2i.errors import MaskMismatchError

FILM = "_film"
_SMALLEST_PART = 0.01  # of the abdomen's shadow: smaller islands are mistakes of the labelling, not a dome


class ConventionConfig(Config):
    """Which definition lungs follow, and which labels it takes. Names may be patterns (`vertebrae_*`).

    Attributes:
        convention: `projected` is the whole shadow; `film` ends at the diaphragm's dome and at the spine;
            `both` has both, the second as `<name>_film`.
        lungs_behind_heart: keep what lies behind heart and mediastinum.
        lungs: structures that the convention is about.
        below_diaphragm: organs whose shadow's upper contour is the dome.
        spine: bones that hide what is behind them.
        heart: heart, great vessels, mediastinum.
    """

    convention: Literal["projected", "film", "both"] = "projected"
    lungs_behind_heart: bool = True
    lungs: tuple[str, ...] = ("left_lung", "right_lung", "lungs", "lung", "lung_*")
    below_diaphragm: tuple[str, ...] = Field(
        default=(
            "abdomen",
            "liver",
            "spleen",
            "stomach",
            "gallbladder",
            "pancreas",
            "kidney_*",
            "adrenal_gland_*",
            "duodenum",
            "small_bowel",
            "colon",
        ),
        min_length=1,
    )
    spine: tuple[str, ...] = ("spine", "vertebrae_*")
    heart: tuple[str, ...] = (
        "mediastinum",
        "heart",
        "heart_*",
        "aorta",
        "pulmonary_*",
        "atrial_appendage_*",
        "superior_vena_cava",
        "inferior_vena_cava",
        "brachiocephalic_*",
        "esophagus",
        "trachea",
    )


def required_structures(config: ConventionConfig, available: Sequence[str]) -> tuple[str, ...]:
    """Labels that the convention takes beside the lungs, of those that are there.

    Raises:
        MaskMismatchError: a kind of label that it needs is missing.
    """
    if config.convention == "projected":
        return ()
    kinds = {"organs below the diaphragm": config.below_diaphragm, "the spine": config.spine}
    if not config.lungs_behind_heart:
        kinds["heart and mediastinum"] = config.heart
    found: dict[str, None] = {}
    for kind, patterns in kinds.items():
        matching = _matching(available, patterns)
        if not matching:
            raise MaskMismatchError(
                f"convention {config.convention}",
                found=f"no label of {kind}",
                expected=f"one of {', '.join(patterns)}",
                remedy="label them too, name yours under convention, or take convention projected",
            )
        found.update(dict.fromkeys(matching))
    return tuple(found)


def film_masks(
    masks: Bool[np.ndarray, "S H W"],
    structures: Sequence[str],
    config: ConventionConfig,
    *,
    frontal: bool = True,
) -> tuple[tuple[str, ...], Bool[np.ndarray, "K H W"]]:
    """Masks by the convention.

    The dome is the upper contour, column by column, of the abdominal organs' shadow: what is below it is cut,
    also in gaps between organs. Lung beside the organs' shadow (the costophrenic angle) stays. In a lateral
    view spine and heart lie over the lungs, and readers draw across them: only the dome cuts.

    Args:
        masks: whole shadows of `structures`, head up.
        structures: their names; labels that the convention needs among them.
        config: which convention.
        frontal: whether the view is PA or AP.

    Returns:
        names, and one plane for each: all structures, and with `both` the film's after them.

    Raises:
        MaskMismatchError: a kind of label that the convention needs is missing.
    """
    names = tuple(structures)
    lungs = _matching(names, config.lungs)
    if config.convention == "projected" or not lungs:
        return names, masks
    required_structures(config, names)
    hidden = _below_dome(_union(masks, names, config.below_diaphragm))
    if frontal:
        hidden = hidden | _union(masks, names, config.spine)
        if not config.lungs_behind_heart:
            hidden = hidden | _union(masks, names, config.heart)
    film = {name: masks[names.index(name)] & ~hidden for name in lungs}
    if config.convention == "film":
        return names, np.stack([film.get(name, masks[index]) for index, name in enumerate(names)])
    added = tuple(f"{name}{FILM}" for name in lungs)
    return (*names, *added), np.concatenate([masks, np.stack(list(film.values()))])


def describe_convention(config: ConventionConfig) -> str:
    """The convention in one sentence, for those who use the masks."""
    projected = "the organ's whole shadow, also behind heart and spine and below the dome of the diaphragm"
    film = (
        "as drawn on films: what lies above the dome of the diaphragm and, in frontal views, beside the spine"
    )
    film += ", also behind the heart" if config.lungs_behind_heart else " and outside heart and mediastinum"
    if config.convention == "projected":
        return f"Lungs: {projected}."
    if config.convention == "film":
        return f"Lungs: {film}."
    return f"Lungs: {projected}; those named {FILM} {film}."


def _below_dome(shadow: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    from scipy import ndimage

    parts, count = ndimage.label(shadow)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        kept = sizes >= _SMALLEST_PART * sizes[1:].sum()
        kept[0] = False
        shadow = kept[parts]
    return np.maximum.accumulate(shadow, axis=0)


def _union(
    masks: Bool[np.ndarray, "S H W"], names: Sequence[str], patterns: Sequence[str]
) -> Bool[np.ndarray, "H W"]:
    chosen = [names.index(name) for name in _matching(names, patterns)]
    return np.asarray(masks[chosen].any(axis=0))


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
