"""A methods paragraph for a paper, from the facts of one run."""

from __future__ import annotations

from medi2i.report.results import Results
from medi2i.report.schema.adapted import DomainFacts
from medi2i.report.schema.controls import Controls
from medi2i.report.schema.downstream import Downstream
from medi2i.report.schema.preservation import Preservation
from medi2i.report.usefulness import describe_protocols
from medi2i.report.wording import (
    all_of,
    counted,
    method_name,
    patients_words,
    sentence,
    share_words,
    words_of,
)


def methods_paragraph(results: Results) -> str:
    """What was done, in the past tense; only what `results.json` holds, and rules that never change."""
    parts = [_translation(results), _split(results)]
    if results.downstream:
        parts += [_training(results.downstream), _scores(results.downstream), _statistics(results.downstream)]
    if results.controls:
        parts.append(_controls(results.controls))
    if results.preservation:
        parts.append(_preservation(results.preservation))
    if results.realism:
        parts.append(
            f"Kernel, energy and Fréchet distances in features of {results.realism.extractor} are given "
            "beside the distance of random halves of the target images and were not used to rank methods."
        )
    return " ".join(parts)


def _translation(results: Results) -> str:
    run, versions = results.run, results.versions
    trained = (
        f"{counted(run.steps, 'training step')}, seed {run.seed}" if run.steps else "nothing was trained"
    )
    return (
        f"{counted(results.data.source.n_images, 'source image')} "
        f"({patients_words(results.data.source.n_patients)}) were translated towards the look of "
        f"{counted(results.data.target.n_images, 'target image')} "
        f"({patients_words(results.data.target.n_patients)}) with the method {method_name(run.method)} of "
        f"medi2i {results.medi2i} ({trained}; working size {run.working_size:,} px; PyTorch "
        f"{versions.torch}, MONAI {versions.monai})."
    )


def _split(results: Results) -> str:
    source, target = results.data.source, results.data.target
    text = (
        f"Images were split {_unit(results)} into training, validation and test sets ({_splits(source)} "
        f"source and {_splits(target)} target images)."
    )
    if results.run.steps:
        text += f" The checkpoint was chosen on validation images alone ({results.run.rule})."
    return text


def _unit(results: Results) -> str:
    unknown = results.data.source.patients_unknown or results.data.target.patients_unknown
    return "by patient where patients were known" if unknown else "by patient"


def _splits(domain: DomainFacts) -> str:
    return "/".join(f"{domain.splits.get(name, 0):,}" for name in ("train", "validation", "test"))


def _training(downstream: Downstream) -> str:
    settings, films = downstream.settings, downstream.films
    seen = (
        "were seen in training without their labels"
        if settings.transductive
        else "took no part in any training"
    )
    return (
        f"Usefulness was measured with a segmenter ({settings.segmenter}; framing: {settings.framing}; "
        f"protocol: {describe_protocols(downstream)}) with {counted(len(settings.seeds), 'seed')} on "
        f"{counted(films.n_images, 'labelled target film')} ({patients_words(films.n_patients)}), which "
        f"{seen} except for few-shot and oracle rows: these were trained on the other folds of "
        f"{settings.folds:,} outer folds by patient, on which every row was tested."
    )


def _scores(downstream: Downstream) -> str:
    settings = downstream.settings
    return (
        f"For {all_of(downstream.films.structures)} we report Dice, Dice outside a don't-care region "
        f"({downstream.labels.dont_care.rstrip('.')}), normalised surface Dice at {settings.tolerance:g} "
        f"{settings.unit}, 95th percentile Hausdorff distance and average symmetric surface distance in "
        f"{settings.unit}; missed structures were scored with the worst value."
    )


def _statistics(downstream: Downstream) -> str:
    few = downstream.films.n_patients is None or downstream.films.n_patients < 50
    text = (
        "Means are given with 95 % t intervals over patients, to which the variance between seeds is "
        "added; gap closed is (row − source only) / (oracle − source only) with Fieller's interval; rows "
        "were compared with source only by Wilcoxon's signed-rank test on means of patients with Holm's "
        "correction, with the rank-biserial correlation as effect size."
    )
    return f"{text} With fewer than 50 known patients the results are exploratory." if few else text


def _controls(controls: Controls) -> str:
    positives, negatives = (
        all_of([words_of(row.name) for row in controls.results if row.expected is expected] or ["none"])
        for expected in (True, False)
    )
    return (
        f"Instruments were checked on known changes of {controls.source}: of anatomy ({positives}) and of "
        f"style ({negatives}). Thresholds were set on {counted(controls.calibration_patients, 'patient')} "
        f"and tested on {controls.tested_patients:,} others, of whom {share_words(controls.false_flags)} "
        f"were flagged for a change of style; by the written rule the controls {_state(controls)}."
    )


def _state(controls: Controls) -> str:
    return "were underpowered" if controls.state == "underpowered" else controls.state


def _preservation(preservation: Preservation) -> str:
    names = all_of([words_of(item.name) for item in preservation.instruments] or ["none"])
    return sentence(
        f"Preservation of anatomy was judged in {counted(preservation.n_images, 'translated image')} "
        f"({patients_words(preservation.n_patients)}) by {names}; an image and structure is certified where "
        "none is above its threshold, and shares have Wilson's 95 % interval"
    )
