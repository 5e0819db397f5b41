"""Which source image becomes which image of the set: by its number alone, whoever makes it and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medi2i.errors import UsageError
from medi2i.synthesis.settings import Balanced, SynthesizeConfig
from medi2i.synthesis.sources import Sources

_ORDER, _STYLE, _APPEARANCE = 41, 42, 43
_LARGEST_STYLE = 2**31


@dataclass(frozen=True, slots=True)
class Draw:
    """What one image of the set is made of.

    Attributes:
        number: of the image, from 0.
        source: number of the source image.
        run: number of the run.
        style: which style the method draws; None for methods without styles.
        appearance_seed: of the random look on top.
    """

    number: int
    source: int
    run: int
    style: int | None
    appearance_seed: int


class DrawPlan:
    """All draws of a set, without a list of them.

    Each group of sources has its turn; within a group all its images in all looks of all runs come once, in a
    random order, before one comes again.
    """

    def __init__(
        self, groups: Sequence[Sequence[int]], looks: Sequence[int], draws_styles: Sequence[bool], seed: int
    ) -> None:
        """As `plan_draws` finds them.

        Args:
            groups: numbers of source images.
            looks: of each source image, by run.
            draws_styles: whether a run's method draws styles, so that a second look is another one.
            seed: of the order and of all that is drawn.
        """
        self._groups, self._seed = [tuple(group) for group in groups], seed
        self._styled = tuple(draws_styles)
        self._runs = [run for run, count in enumerate(looks) for _ in range(count)]
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def draw(self, number: int) -> Draw:
        """What image `number` is made of."""
        turn, group = divmod(number, len(self._groups))
        sources = self._groups[group]
        units = len(sources) * len(self._runs)
        again, place = divmod(turn, units)
        source, look = divmod(int(self._order(group, again, units)[place]), len(self._runs))
        run = self._runs[look]
        style, appearance = (
            int(np.random.default_rng([self._seed, stream, number]).integers(_LARGEST_STYLE))
            for stream in (_STYLE, _APPEARANCE)
        )
        return Draw(number, sources[source], run, style if self._styled[run] else None, appearance)

    def _order(self, group: int, again: int, units: int) -> np.ndarray:
        kept = self._orders.get(group)
        if kept is None or kept[0] != again:
            rng = np.random.default_rng([self._seed, _ORDER, group, again])
            kept = self._orders[group] = (again, rng.permutation(units))
        return kept[1]


def plan_draws(
    config: SynthesizeConfig, sources: Sources, draws_styles: Sequence[bool]
) -> tuple[DrawPlan, int]:
    """The draws that settings ask for, and how many.

    Args:
        config: settings.
        sources: what there is to draw from.
        draws_styles: of each run, whether its method draws styles.

    Raises:
        UsageError: styles of methods that have none; or images would come twice just as they are.
    """
    if config.styles > 1 and not any(draws_styles):
        raise UsageError(
            f"--styles {config.styles}",
            found="methods that give each image one look",
            expected="a run of a method that draws styles, such as munit",
            remedy="drop the option, or add --randomise for random looks",
        )
    looks = [config.styles if styled else 1 for styled in draws_styles]
    different = len(sources.rows) * sum(looks)
    count = config.count or different
    varied = config.randomise is not None or all(draws_styles)
    if not varied and (count > different or config.balance):
        raise UsageError(
            f"--count {count}" if count > different else "--balance",
            found=f"{different} different images: some would come again just as they are",
            expected="looks that differ from draw to draw",
            remedy="add --randomise, or use runs of methods that draw styles, such as munit",
        )
    groups = _group(sources, config.balance)
    return DrawPlan(groups, looks, draws_styles, config.seed), count


def _group(sources: Sources, balance: Sequence[Balanced]) -> list[list[int]]:
    """Sources that take turns: by view, by structure that they show, or by both."""
    everything = list(range(len(sources.rows)))
    groups: dict[tuple[str, ...], list[int]] = {}
    for number in everything:
        views = [sources.view(number) or "unknown"] if "view" in balance else [""]
        shown = sorted(sources.shown(number)) or ["nothing"] if "structure" in balance else [""]
        for key in ((view, structure) for view in views for structure in shown):
            groups.setdefault(key, []).append(number)
    return [groups[key] for key in sorted(groups)]
