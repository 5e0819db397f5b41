"""The report in words: what was done, how it went, and what the numbers can't say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medi2i.report.comparison import (
    STRUCTURE_LIMIT,
    Standing,
    below_limit,
    error_ratio,
    flagged,
    standing,
)
from medi2i.report.headline import EVALUATE, reason_of
from medi2i.report.results import Results, edge_units, parse_results
from medi2i.report.schema.adapted import DomainFacts
from medi2i.report.wording import (
    EXPLORATORY_BELOW,
    any_of,
    counted,
    decimals_for,
    fixed,
    flag_name,
    method_name,
    percent,
    sentence,
)

BASELINES = ("identity", "histogram")
_NEVER_RANKS = (
    "Distance never ranks methods: looking real does not predict how well a network trained on the images "
    "segments."
)
_NOT_MEASURED = f"That is measured by {EVALUATE}."
_AGAINST = {
    "nearer": "The translation got nearer than histogram matching.",
    "alike": "They differ by less than sets of real images do among themselves.",
    "further": "Histogram matching got nearer than the translation.",
}


@dataclass(frozen=True, slots=True)
class Description:
    """The words of a report.

    Attributes:
        verdict: one sentence.
        findings: what was translated, how near it got, what was kept; one paragraph each.
        cautions: what a reader must know before believing it.
    """

    verdict: str
    findings: list[str]
    cautions: list[str]


def describe(results: Mapping[str, Any]) -> list[str]:
    """A run in plain words, for a report or a terminal: the verdict, the findings, the cautions.

    Args:
        results: the content of `results.json`, as `AdaptResult.results` holds it.

    Raises:
        CheckpointError: `results` are incomplete or of another edition's format.
    """
    parsed = parse_results(results)
    words = compose(parsed)
    verdict_cautions = map(sentence, parsed.verdict.cautions) if parsed.verdict else ()
    return [words.verdict, *words.findings, *verdict_cautions, *words.cautions]


def compose(results: Results) -> Description:
    """The words of one run."""
    where = standing(results)
    findings = [
        _what(results),
        _distance(results, where),
        _structure(results),
        _masks(results),
        *_truth(results),
    ]
    return Description(_first_sentence(results, where), findings, _cautions(results))


def _first_sentence(results: Results, where: Standing) -> str:
    """The verdict of an evaluated run; without one, how near it came and whether structure was kept."""
    if (verdict := results.verdict) is None:
        return _verdict(results, where)
    return f"Verdict: {verdict.name}. {reason_of(verdict)}".rstrip()


def _verdict(results: Results, where: Standing) -> str:
    if flags := _flags(results):
        return f"Not usable as it is: {flags}."
    kept = results.structure.translated.gradient_correlation.median
    if kept is None:
        return "No verdict: gradient correlation is undefined, because the images show no edges."
    if kept < STRUCTURE_LIMIT:
        kept_text = fixed(kept, 2)
        return (
            f"Structure was lost: the median gradient correlation, {kept_text}, is below {STRUCTURE_LIMIT}."
        )
    if results.run.method == "identity":
        return "A control: the images were left as they were."
    if where.translated is None or where.identity is None:
        return "Structure was kept; no distance could be measured."
    if not where.gap:
        return "Structure was kept; there was no measurable gap between the domains to close."
    if (outcome := where.compare(where.translated, where.identity)) != "nearer":
        place = "no nearer to" if outcome == "alike" else "further from"
        return f"No gain: structure was kept, but the images are {place} the target than without translation."
    return _gain(results, where, where.translated) + _against_truth(results)


def _flags(results: Results) -> str:
    """Which images look broken; empty where none does."""
    if not (flags := flagged(results)):
        return ""
    images = counted(sum(bool(image.flags) for image in results.images), "translated image")
    return f"{images} came out {any_of([flag_name(flag) for flag in flags])}"


def _gain(results: Results, where: Standing, translated: float) -> str:
    nearer = "Nearer to the target than doing nothing"
    p5 = results.structure.translated.gradient_correlation.p5
    kept = "structure kept" if p5 is not None and p5 >= STRUCTURE_LIMIT else "structure kept in most images"
    if results.run.method in BASELINES or where.histogram is None:
        return f"{nearer}, with {kept}."
    return {
        "nearer": f"{nearer} and than histogram matching, with {kept}.",
        "alike": f"{nearer}, but no nearer than histogram matching; {kept}.",
        "further": f"{nearer}, but histogram matching got nearer still; {kept}.",
    }[where.compare(translated, where.histogram)]


def _against_truth(results: Results) -> str:
    if results.truth is None:
        return ""
    ratio = error_ratio(results.truth)
    if ratio is None or ratio < 1:
        return ""
    return " Yet against the true images it is no better than doing nothing."


def _what(results: Results) -> str:
    source, target, run = results.data.source, results.data.target, results.run
    text = (
        f"{counted(source.n_images, 'source image')} ({_patients(source)}) were translated by "
        f"{method_name(run.method)} towards the look of {counted(target.n_images, 'target image')} "
        f"({_patients(target)})."
    )
    held_out = (
        f"Distances are to the {counted(target.splits.get('test', 0), 'target image')} held out for testing."
    )
    if not run.steps:
        return f"{text} Nothing was trained. {held_out}"
    trained = f"{source.splits.get('train', 0):,} source and {target.splits.get('train', 0):,} target images"
    return f"{text} It was trained on {trained} in {counted(run.steps, 'step')}. {held_out}"


def _distance(results: Results, where: Standing) -> str:
    if where.translated is None or where.identity is None:
        return "The distance to the target is undefined: it needs at least two usable images in each set."
    digits = decimals_for([where.identity, where.translated])
    text = (
        f"The distance to the target is {fixed(where.translated, digits)} after translation and "
        f"{fixed(where.identity, digits)} when nothing is done."
    )
    if not where.gap:
        return (
            f"{text} Even untranslated, the source is about as near as sets of real target images are to "
            f"each other ({fixed(where.floor, digits)} ± {fixed(where.spread, digits)}): there is no scale "
            "to place it on."
        )
    text += (
        " On the scale from 0 (real target images among themselves) to 1 (doing nothing), it stands at "
        f"{fixed(where.position(where.translated), 2)}"
    )
    if results.run.method in BASELINES or where.histogram is None:
        return f"{text}."
    other = fixed(where.position(where.histogram), 2)
    comparison = _AGAINST[where.compare(where.translated, where.histogram)]
    return f"{text}; histogram matching stands at {other}. {comparison}"


def _structure(results: Results) -> str:
    kept = results.structure.translated.gradient_correlation
    if kept.median is None:
        return "Gradient correlation is undefined for every image: whether structure was kept is unknown."
    few, defined = below_limit(results)
    text = (
        f"Structure: the median gradient correlation with the source is {fixed(kept.median, 2)} "
        f"(5th percentile {fixed(kept.p5, 2)}; 1 is every edge as it was)."
    )
    if few:
        text += (
            f" {few:,} of {counted(defined, 'image')} ({percent(few, defined)}) fell below {STRUCTURE_LIMIT}."
        )
    return text + _edges(results)


def _edges(results: Results) -> str:
    moved, tone, unit = results.structure.translated, results.structure.histogram, results.edge_unit
    median, p95 = moved.edge_median.median, moved.edge_p95.median
    if len(edge_units(results.images)) > 1 or median is None or p95 is None:
        return ""
    text = (
        f" In the median image, half of the edges lie within {fixed(median, 2)} {unit} of an edge of the "
        f"translation, and 95 % within {fixed(p95, 2)} {unit}"
    )
    if results.run.method in BASELINES or tone.edge_median.median is None:
        return f"{text}."
    return (
        f"{text}; histogram matching, which moves nothing, measures {fixed(tone.edge_median.median, 2)} and "
        f"{fixed(tone.edge_p95.median, 2)} {unit} by its change of tone alone."
    )


def _masks(results: Results) -> str:
    masks = results.masks
    if not masks.in_source:
        return "The source has no masks to carry along."
    if masks.carried == masks.identical == masks.in_source:
        return f"{counted(masks.in_source, 'mask')} carried along, byte for byte the same."
    return (
        f"{masks.carried:,} of {counted(masks.in_source, 'mask')} carried along, "
        f"{masks.identical:,} byte for byte the same."
    )


def _truth(results: Results) -> list[str]:
    if results.truth is None or (ratio := error_ratio(results.truth)) is None:
        return []
    identity = results.truth.identity.mean_absolute_error.mean.estimate or 0.0
    better = "smaller than" if ratio < 1 else "no smaller than"
    return [
        f"Against the true target image of {counted(results.truth.n_images, 'held-out source image')}, the "
        f"mean absolute error is {fixed(100 * ratio * identity, 1)} % of the range, {better} the "
        f"{fixed(100 * identity, 1)} % of doing nothing (ratio {fixed(ratio, 2)})."
    ]


def _cautions(results: Results) -> list[str]:
    cautions = [
        _NEVER_RANKS if results.downstream else f"{_NEVER_RANKS} {_NOT_MEASURED}",
        # of a run without a verdict, its first sentence says so
        *([f"{flags}."] if results.verdict and (flags := _flags(results)) else []),
        *results.warnings,
        *_domain_cautions("source", results.data.source),
        *_domain_cautions("target", results.data.target),
    ]
    if results.floor.mean is None:
        cautions.append(
            "The floor (real against real) could not be measured, which takes four held-out target patients; "
            "0, which it is on average, stands in for it, and how far it strays is unknown."
        )
    if len(edge_units(results.images)) > 1:
        cautions.append(
            "Spacing is known for some images only: edge displacements in mm and in px can't be summed up "
            "together and are not shown."
        )
    return cautions


def _domain_cautions(name: str, domain: DomainFacts) -> list[str]:
    cautions = []
    if domain.patients_unknown:
        cautions.append(
            f"Patients of the {name} are unknown: images of one patient may be on both sides of the split, "
            "and an interval over images is too narrow."
        )
    elif domain.n_patients == 1:
        cautions.append(
            f"The {name} is a single patient: nothing here says how it would go with another, and no "
            "interval over patients can be given."
        )
    if domain.n_skipped:
        were = "was" if domain.n_skipped == 1 else "were"
        cautions.append(
            f"{counted(domain.n_skipped, f'{name} image')} could not be used and {were} skipped; "
            "skipped.jsonl says why."
        )
    test = domain.splits.get("test", 0)
    if test < EXPLORATORY_BELOW:
        held_out = counted(test, f"{name} image")
        cautions.append(f"Exploratory: {held_out} held out for testing, fewer than {EXPLORATORY_BELOW}.")
    return cautions


def _patients(domain: DomainFacts) -> str:
    return "patients unknown" if domain.n_patients is None else counted(domain.n_patients, "patient")
