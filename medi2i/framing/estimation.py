"""The frame of one film, found by its content: no pixel spacing, no label, no body part is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from medi2i.config import Config
from medi2i.framing.appearance import reduce_film
from medi2i.framing.frame import Frame
from medi2i.framing.placement import Placement
from medi2i.framing.search import Match, SearchConfig, distinct, refine, search_coarsely
from medi2i.framing.template import Template

Reason = Literal[
    "too little of it is exposed", "unlike the template", "as much like the template turned or inverted"
]

_LEAST_EXPOSED = 0.1
_COMMON_PASSES = 4  # at most
_SETTLED = 0.002  # change of a side, as a share of it
_SHORT, _LONG = 120, 250  # places the fine search looks at: from every start, then from the best of them


class EstimationConfig(Config):
    """How a frame is searched and when it is believed.

    Attributes:
        search: what is tried.
        minimum_score: least agreement with the template, 1 at best. On frontal chest films against a DRR of
            another patient, right fits score 0.55 to 0.86, and what does not belong 0.25 to 0.65.
        minimum_margin: how much better the upright film must agree than the film turned by a quarter or a
            half, or inverted: what agrees as well when turned shows another view or body part.
    """

    search: SearchConfig = SearchConfig()
    minimum_score: float = Field(default=0.55, ge=0, le=1)
    minimum_margin: float = Field(default=0.03, ge=-1, le=1)


@dataclass(frozen=True, slots=True)
class FrameEstimate:
    """What one film shows of the patient.

    Attributes:
        frame: rectangle around the film's exposed field, in the plane of the template's isocentre.
        placement: where the film's stored pixels lie on that plane.
        score: agreement with the template, 1 at best.
        margin: how much better the film agrees upright than turned or inverted.
        accepted: whether the fit is to be believed.
        reason: why not; None if accepted.
        template: index of the template that agreed best.
    """

    frame: Frame
    placement: Placement
    score: float
    margin: float
    accepted: bool
    reason: Reason | None = None
    template: int = 0


def estimate_frame(
    film: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"],
    templates: Template | Sequence[Template],
    config: EstimationConfig | None = None,
) -> FrameEstimate:
    """The frame of a film, by registration to one or several DRRs.

    Local contrast of both is compared by masked normalised correlation: over all shifts at a grid of sizes,
    stretches and rotations (Padfield 2012), then by Powell's method from the best places. Nothing is drawn at
    random.

    Args:
        film: bone bright, of any scale and tone.
        valid: where the film shows anything (`Radiograph.valid`); collimated borders are none of it.
        templates: DRRs at the base geometry; the one that agrees best decides.
        config: limits; the defaults if None.
    """
    config = config or EstimationConfig()
    chosen = [templates] if isinstance(templates, Template) else list(templates)
    reduced, kept = reduce_film(film, valid, config.search.working_size)
    if kept.mean() < _LEAST_EXPOSED or np.ptp(reduced[kept]) == 0:
        return _nothing_to_see(film.shape, chosen[0])
    matches = [_find(reduced, kept, template, config.search) for template in chosen]
    index = max(range(len(matches)), key=lambda number: matches[number].score)
    best, template = matches[index], chosen[index]
    margin = _margin(reduced, kept, template, config.search)
    factor = (film.shape[0] / reduced.shape[0], film.shape[1] / reduced.shape[1])
    placement = best.placement.rescale(factor)
    reason: Reason | None = None
    if best.score < config.minimum_score:
        reason = "unlike the template"
    elif margin < config.minimum_margin:
        reason = "as much like the template turned or inverted"
    return FrameEstimate(
        frame=placement.frame_of(valid),
        placement=placement,
        score=best.score,
        margin=margin,
        accepted=reason is None,
        reason=reason,
        template=index,
    )


def _find(film: np.ndarray, valid: np.ndarray, template: Template, config: SearchConfig) -> Match:
    """The best place: the coarse search's best ones refined shortly, the best of these once more."""
    coarse = distinct(search_coarsely(film, valid, template, config), config.starts, template.side_mm)
    short = [refine(match.placement, film, valid, template, config, evaluations=_SHORT) for match in coarse]
    best = max(short, key=lambda match: match.score)
    # once more, because the film's features belong to the scale that the search started with
    best = refine(best.placement, film, valid, template, config, evaluations=_LONG)
    placement = best.placement
    for _ in range(_COMMON_PASSES):  # what both show follows from the place, and the place from that
        before = placement
        placement = refine(before, film, valid, template, config, evaluations=_LONG, common=True).placement
        if np.abs(np.log(placement.spacing_mm) - np.log(before.spacing_mm)).max() < _SETTLED:
            break
    return Match(placement, best.score)


def _margin(film: np.ndarray, valid: np.ndarray, template: Template, config: SearchConfig) -> float:
    """Best coarse score of the film as it is, less that of the film turned or inverted."""

    def best(pixels: np.ndarray, shown: np.ndarray) -> float:
        return search_coarsely(pixels, shown, template, config, upright_only=True)[0].score

    turned = [best(np.rot90(film, quarter), np.rot90(valid, quarter)) for quarter in (1, 2, 3)]
    return best(film, valid) - max(*turned, best(-film, valid))


def _nothing_to_see(shape: tuple[int, ...], template: Template) -> FrameEstimate:
    """A film without content: the template's own frame stands in, and nobody believes it."""
    frame = template.frame
    spacing = (frame.height_mm / shape[0], frame.width_mm / shape[1])
    placement = Placement(spacing, 0.0, frame.center_mm)
    return FrameEstimate(frame, placement, 0.0, 0.0, accepted=False, reason="too little of it is exposed")
