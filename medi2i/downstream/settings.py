"""Every setting of the downstream table."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medi2i.config import Config
from medi2i.segmentation import SegmenterChoice

Protocol = Literal["train-on-translated", "translate-at-test"]
_THIN_WORDS = ("rib", "clavicle", "vessel")
Count = Annotated[int, Field(ge=0)]


class FewShotConfig(Config):
    """How a segmenter without a target label is tuned on a few.

    Attributes:
        steps: training steps; with so few images, more only learn them by heart.
        learning_rate: of the same optimiser as before.
    """

    steps: int = Field(default=150, gt=0)
    learning_rate: float = Field(default=5e-4, gt=0)


class DownstreamConfig(Config):
    """What is trained, on what it is tested, and how that is scored.

    Attributes:
        seeds: each row is trained once with each.
        folds: outer folds of target patients. Few-shot rows and the oracle train on the other folds only.
        fold_seed: draws the folds; it is not one of `seeds`, so that all rows and seeds share them.
        few_shot: numbers of labelled target patients; 0 is what the rows without target labels are.
        protocol: whether segmenters learn from translated images, see translated films, or both.
        structures: label of the films to structures of the source that together are it. Labels that are not
            named here are structures of the same name; one without any structure is left out.
        segmenter: preset and changes. The same for all rows: their techniques are all they differ in.
        tuning: of few-shot rows.
        framing: of the rows with framing. `auto`: the segmenter's own small one where the source is framed
            like films already, else as `fit`: fitted to the run's unlabelled target films. `none`: there are
            no rows with framing. Else an `augmentation.yaml` of `medi2i drr`.
        tolerance_mm: of the normalised surface Dice, where the spacing of all films is known.
        tolerance_px: in its place where it is not.
        thin: structures with a centre line; None: those whose name holds rib, clavicle or vessel.
        transductive: allow test films that the run has seen without their labels.
    """

    seeds: Annotated[tuple[Count, ...], Field(min_length=1)] = (0, 1, 2)
    folds: int = Field(default=3, ge=2)
    fold_seed: int = Field(default=0, ge=0)
    few_shot: tuple[Count, ...] = (0,)
    protocol: Literal["train-on-translated", "translate-at-test", "both"] = "train-on-translated"
    structures: dict[str, tuple[str, ...]] = Field(default={})
    segmenter: SegmenterChoice = SegmenterChoice()
    tuning: FewShotConfig = FewShotConfig()
    framing: str = Field(default="auto", min_length=1)
    tolerance_mm: float = Field(default=3.0, ge=0)
    tolerance_px: float = Field(default=4.0, ge=0)
    thin: tuple[str, ...] | None = None
    transductive: bool = False

    @model_validator(mode="after")
    def _each_once(self) -> DownstreamConfig:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"a seed is named twice in {list(self.seeds)}")
        return self

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """Those asked for."""
        if self.protocol == "both":
            return ("train-on-translated", "translate-at-test")
        return (self.protocol,)

    @property
    def labelled(self) -> tuple[int, ...]:
        """Numbers of labelled patients of the few-shot rows, ascending."""
        return tuple(sorted(set(self.few_shot) - {0}))

    def thin_of(self, structures: tuple[str, ...]) -> tuple[str, ...]:
        """Which of the structures are thin."""
        if self.thin is not None:
            return tuple(name for name in structures if name in self.thin)
        return tuple(name for name in structures if any(word in name.lower() for word in _THIN_WORDS))
