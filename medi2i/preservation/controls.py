"""The instruments on trial before they judge: thresholds from some patients, known changes of others."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medi2i.drr.threads import in_threads
from medi2i.evaluation.controls import (
    SANITY_CONTROLS,
    SHUFFLED,
    WARPS_PX,
    Judgement,
    Pair,
    judge,
    negative_controls,
    positive_controls,
)
from medi2i.evaluation.domains import Domains
from medi2i.evaluation.verdict import Controls
from medi2i.preservation.pairs import own_pairs, own_rows, phantom_pairs
from medi2i.preservation.settings import PreservationConfig
from medi2i.preservation.structures import kind_of
from medi2i.preservation.thresholds import (
    dose_response,
    labels_threshold,
    structure_results,
    structure_thresholds,
    whole_images,
)
from medi2i.preservation.trial import UNCHANGED, Block, read_block, score_block, write_block
from medi2i.training.interruption import StopRequest
from medi2i.training.progress import Progress

FOLDER = Path("evaluation", "controls")
# Raised when instruments or controls give other scores than before for the same settings.
_FORMAT = 1
_REMEDY = "run the same command again: pairs that are scored are kept"


@dataclass(frozen=True, slots=True, eq=False)
class RunControls:
    """Instruments that were tried, and from where on they flag.

    Attributes:
        judgement: of whole images, on patients that thresholds are not from.
        thresholds: by instrument, for images of this run; infinite where it has none.
        structures: of displacement in px, by kind of structure.
        kinds: of structures whose outlines count in `thresholds["labels"]`.
        side_px: longest side at which images were measured, and have to be.
        source: which pairs, in words.
        section: `controls` of `results.json`.
    """

    judgement: Judgement
    thresholds: Mapping[str, float]
    structures: Mapping[str, float]
    kinds: frozenset[str]
    side_px: int
    source: str
    section: Mapping[str, Any]

    @property
    def controls(self) -> Controls:
        """The word and its reasons, as the verdict takes them."""
        return self.judgement.controls

    @property
    def calibrated_on(self) -> str:
        """Where thresholds come from, in words."""
        return f"style changes of {self.section['calibration_patients']} other patients ({self.source})"


def judge_instruments(
    domains: Domains,
    *,
    out: Path,
    config: PreservationConfig | None = None,
    seed: int = 0,
    stop: StopRequest | None = None,
) -> RunControls:
    """Try the instruments on known changes: `controls` of a report, and the thresholds that it judges by.

    Which pairs is said in `preservation.pairs`. Each pair's scores are kept below `out`, under a fingerprint
    of whatever they depend on: what is there is not computed again.

    Args:
        domains: of the run.
        out: the run folder; `evaluation/controls` is written in it.
        config: settings.
        seed: of phantoms, warps, places and noise.
        stop: whether somebody asked to stop; looked at after each control.

    Raises:
        InterruptedRunError: a stop was asked for; finished pairs are kept.
    """
    config, stop = config or PreservationConfig(), stop or StopRequest()
    rows = own_rows(domains, config)
    folder = out / FOLDER / _fingerprint(config, seed, [row.sha256 for row in rows])

    def check() -> None:
        stop.raise_if_requested(str(out), _REMEDY)

    def make_pairs() -> list[Pair]:
        if rows:
            return own_pairs(domains, rows, config, seed=seed)
        return phantom_pairs(folder / "phantoms", config, seed=seed, check=check)

    wanted = config.calibration_patients + config.tested_patients
    blocks = _score_all(make_pairs, wanted, folder, config, seed, check)
    kinds = {kind_of(name) for row in domains.source for name in row.structures}
    source = "the run's own source images beside films that physics makes of them"
    if not rows:
        source = f"phantom patients, DRR beside true film, {config.side_px} px"
    calibration, tested = blocks[: config.calibration_patients], blocks[config.calibration_patients :]
    return compose_controls(
        calibration, tested, config=config, kinds=frozenset(filter(None, kinds)), source=source
    )


def compose_controls(
    calibration: Sequence[Block],
    tested: Sequence[Block],
    *,
    config: PreservationConfig,
    kinds: frozenset[str],
    source: str,
) -> RunControls:
    """Judge scored pairs, and set the thresholds of a run whose masks are of some kinds.

    Args:
        calibration: style changes of the patients that thresholds are from.
        tested: all controls of other patients.
        config: what they were scored with.
        kinds: of the run's structures; others count in no threshold of outlines.
        source: which pairs, in words.

    Raises:
        UsageError: a patient is in both.
    """
    scored = whole_images(tested)
    negatives, positives = negative_controls(config.controls), [*positive_controls(config.controls), SHUFFLED]
    judgement = judge(
        whole_images(calibration),
        {name: scored.get(name, []) for name in negatives},
        {name: scored.get(name, []) for name in positives},
        {name: scored.get(name, []) for name in SANITY_CONTROLS},
    )
    structures = structure_thresholds(calibration)
    outlined = {kind_of(name) for b in calibration for image in b.values() for name in image.structures}
    shared = frozenset(kinds & outlined)
    thresholds = dict(judgement.thresholds) | {"labels": labels_threshold(calibration, shared)}
    doses = [(0.0, UNCHANGED), *((size, f"warp_{size:g}_px") for size in WARPS_PX)]
    estimate, low, high = judgement.false_flags
    section = {
        "state": judgement.controls.state,
        "reasons": list(judgement.controls.reasons),
        "source": source,
        "side_px": config.side_px,
        "calibration_patients": _count_patients(calibration),
        "tested_patients": _count_patients(tested),
        "strengths": config.controls.model_dump(mode="json"),
        "instruments": config.instruments.model_dump(mode="json"),
        "margin_px": config.margin_px,
        "thresholds": {name: _or_none(value) for name, value in thresholds.items()},
        "judged_thresholds": {name: _or_none(value) for name, value in judgement.thresholds.items()},
        "structure_thresholds": structures,
        "outline_kinds": sorted(shared),
        "false_flags": {"estimate": estimate, "low": low, "high": high},
        "results": [asdict(result) for result in judgement.results],
        "structure_results": structure_results(tested, structures, [*negatives, *positives]),
        "dose_response": dose_response(tested, doses),
    }
    return RunControls(judgement, thresholds, structures, shared, config.side_px, source, section)


def restore_controls(section: Mapping[str, Any]) -> tuple[RunControls, PreservationConfig]:
    """Thresholds, and the settings of the instruments that they hold for, from `controls` of `results.json`.

    Sections of before instruments were written down are of the default ones.

    Raises:
        KeyError, TypeError, ValueError: it is no such section.
    """
    limits, judged, structures = (
        {name: math.inf if value is None else float(value) for name, value in section[part].items()}
        for part in ("thresholds", "judged_thresholds", "structure_thresholds")
    )
    share = section["false_flags"]
    false_flags = tuple(
        math.nan if share[key] is None else float(share[key]) for key in ("estimate", "low", "high")
    )
    judgement = Judgement(
        Controls(section["state"], tuple(section["reasons"])),
        judged,
        (),
        (false_flags[0], false_flags[1], false_flags[2]),
    )
    measured = {key: section[key] for key in ("side_px", "instruments", "margin_px") if key in section}
    config = PreservationConfig.model_validate(measured)
    kinds = frozenset(section["outline_kinds"])
    return RunControls(
        judgement, limits, structures, kinds, config.side_px, section["source"], section
    ), config


def _score_all(
    make_pairs: Callable[[], list[Pair]],
    wanted: int,
    folder: Path,
    config: PreservationConfig,
    seed: int,
    check: Callable[[], None],
) -> list[Block]:
    """Blocks of all pairs, from the disk where they are there."""
    paths = [folder / f"pair-{number:04d}.json" for number in range(wanted)]
    missing = [number for number, path in enumerate(paths) if not path.is_file()]
    if missing:
        pairs = make_pairs()
        progress = Progress("testing the instruments", wanted, initial=wanted - len(missing))

        def score(number: int) -> None:
            tested = number >= config.calibration_patients
            # the next tested patient lends masks; the last one takes the first's
            place = number + 1 if number + 1 < wanted else config.calibration_patients
            other = pairs[place] if tested and place != number else None
            block = score_block(
                pairs[number], other, config, seed=seed, number=number, tested=tested, tick=check
            )
            write_block(paths[number], block)

        try:
            for _ in in_threads(score, missing, workers=config.workers):
                progress.advance()
                check()
        finally:
            progress.close()
    return [read_block(path) for path in paths]


def _fingerprint(config: PreservationConfig, seed: int, images: Sequence[str]) -> str:
    """Of all that scores depend on."""
    chosen = {
        "format": _FORMAT,
        "seed": seed,
        "images": list(images),
        "side_px": config.side_px,
        "patients": [config.calibration_patients, config.tested_patients],
        "controls": config.controls.model_dump(mode="json"),
        "instruments": config.instruments.model_dump(mode="json"),
        "margin_px": config.margin_px,
    }
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


def _count_patients(blocks: Sequence[Block]) -> int:
    return len({image.whole.patient for block in blocks for image in block.values()})


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
