"""A whole set: sources read, images made here or in processes, tables and card at the end."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medi2i.adaptation.results import version_of
from medi2i.data.manifest import Skipped, write_skipped
from medi2i.errors import NothingUsableError, UsageError
from medi2i.io.atomic import write_stream_atomically, write_text_atomically
from medi2i.synthesis.card import CARD, About, Counts, write_card_text
from medi2i.synthesis.draws import plan_draws
from medi2i.synthesis.formats import SetWriter, make_writer
from medi2i.synthesis.gate import Gate, for_structures, open_gate
from medi2i.synthesis.limits import known_limits
from medi2i.synthesis.making import Task
from medi2i.synthesis.records import MANIFEST, ProgressLog, close_set, open_set
from medi2i.synthesis.settings import SynthesizeConfig
from medi2i.synthesis.sources import Sources, read_sources
from medi2i.synthesis.workers import make_images
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.progress import Progress
from medi2i.translation import StyleRequest, Translator, choose_looks, load_translator

_REMEDY = "run the same command again: what is finished is kept"
_FORMAT = 1  # raised when the same request gives other bytes


@dataclass(frozen=True, slots=True)
class SynthesizeResult:
    """What a call left.

    Attributes:
        out: the set's folder.
        complete: whether the set is finished; a share alone does not finish it.
        drawn: images drawn, by this call and earlier ones; for a share, those of all shares that are done.
        made: images that this call drew.
        accepted: images in the set; None while it is not complete.
        rejected: images left out, by reason.
        skipped: sources that could not be used.
        warnings: what a user should know, in plain words.
    """

    out: Path
    complete: bool
    drawn: int
    made: int
    accepted: int | None = None
    rejected: Mapping[str, int] | None = None
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()


def synthesize(
    runs: Sequence[Path],
    source: Path,
    *,
    out: Path,
    config: SynthesizeConfig | None = None,
    workers: int = 1,
    shard: tuple[int, int] | None = None,
    device: DeviceName = "auto",
) -> SynthesizeResult:
    """Write a labelled set of synthetic radiographs with finished runs.

    Image n is the same for any number of workers, in any share, and after any interruption: on a CPU the set
    is the same byte for byte. `UNFINISHED` stands in the folder until the set is complete.

    Args:
        runs: run folders of `medi2i adapt`; several are mixed evenly.
        source: labelled DRRs: a data set folder with masks.
        out: the set's folder; new, empty, or of the same set, which is then gone on with.
        config: settings.
        workers: processes.
        shard: (i, n): this call draws every n-th image, from the i-th, and leaves the tables to a call
            without a share.
        device: where the runs compute.

    Raises:
        UsageError: settings, sources and runs don't fit together; or a gate is wanted of a run whose controls
            did not pass or that has none.
        OutputExistsError: `out` holds something else.
        InputError: tables or masks of the sources don't fit.
        NothingUsableError: no source can be used, or the gate let nothing through.
        CheckpointError: a run holds no checkpoint, or damaged ones.
        InterruptedRunError: a stop was asked for; what is finished is kept.
        DiskFullError, EnvironmentProblemError: the folder can't be written to; what is finished is kept.
    """
    config = config or SynthesizeConfig()
    if not runs:
        raise UsageError("RUN", found="none", expected="a run of medi2i adapt", remedy="name one")
    translators = [load_translator(run, device=device) for run in runs]
    gates = tuple(open_gate(run) for run in runs) if config.gate else None
    with stop_on_signals() as stop:
        sources = _read(config, source, stop, out)
        writer = make_writer(config, out, sources.structures, sources.convention)
        plan, count = plan_draws(config, sources, [_draws_styles(each) for each in translators])
        for translator in translators:  # attributes that a method does not know are told before any work
            choose_looks(translator, "source-to-target", StyleRequest(attributes=config.attributes))
        names = _names(runs)
        if gates is not None:
            gates = tuple(for_structures(gate, sources.structures) for gate in gates)
        request = _request(config, sources, writer, names, translators, gates, count)
        limits = known_limits(config, sources, runs, names, gates)
        complete = open_set(out, request, alone=shard is None)
        if complete:
            return _completed(out, sources, limits)
        task = Task(
            sources=sources,
            plan=plan,
            writer=writer,
            runs=tuple(runs),
            names=names,
            gates=gates,
            attributes=config.attributes,
            randomise=config.randomise,
            keep_rejected=config.keep_rejected,
            device=device,
        )
        del translators
        log = ProgressLog(out, shard or (1, 1), count)
        made = _make_missing(task, log, count, workers, shard or (1, 1), stop)
        drawn = sum(log.finished())
        if shard is not None:
            return SynthesizeResult(out, False, drawn, made, None, None, sources.skipped, limits)
        about = About(config, request, sources.structures, writer.describe(), limits)
        counts = _write_tables(out, writer, log, sources, about)
    return SynthesizeResult(
        out, True, drawn, made, counts.accepted, dict(counts.rejected), sources.skipped, limits
    )


def _read(config: SynthesizeConfig, source: Path, stop: StopRequest, out: Path) -> Sources:
    progress: list[Progress] = []

    def tick(done: int, total: int) -> None:
        if not progress:
            progress.append(Progress("reading", total))
        progress[0].advance()
        stop.raise_if_requested(str(out), _REMEDY)

    try:
        return read_sources(source, split=config.split, seed=config.seed, tick=tick)
    finally:
        for each in progress:
            each.close()


def _make_missing(
    task: Task, log: ProgressLog, count: int, workers: int, shard: tuple[int, int], stop: StopRequest
) -> int:
    """Make what has no record yet; how many that were."""
    finished = log.finished()
    number, of = shard
    share = range(number - 1, count, of)
    missing = (each for each in share if not finished[each])
    there = sum(finished[each] for each in share)
    progress, made = Progress("synthesizing", len(share), initial=there), 0
    try:
        with closing(_records(task, missing, min(workers, len(share) - there), stop)) as records:
            for record in records:
                log.add(record)
                made += 1
                progress.advance()
    finally:
        progress.close()
    return made


def _records(
    task: Task, numbers: Iterator[int], workers: int, stop: StopRequest
) -> Generator[dict[str, Any]]:
    with closing(make_images(task, numbers, max(workers, 1))) as made:
        for record in made:
            if record is not None:
                yield record
            stop.raise_if_requested("medi2i synthesize", _REMEDY)


def _write_tables(out: Path, writer: SetWriter, log: ProgressLog, sources: Sources, about: About) -> Counts:
    """Tables, manifest and card; then the mark goes.

    Raises:
        NothingUsableError: there is no image.
    """
    counts = Counts()
    for record in log.ordered():
        counts.add(record["manifest"])
    if counts.accepted == 0:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in counts.rejected.most_common())
        raise NothingUsableError(
            out,
            found=f"all of {counts.drawn} images rejected by the gate: {reasons}",
            expected="a run that keeps structures",
            remedy="look at the run's report; --no-gate writes the images all the same, and says so",
        )

    def entries() -> Iterator[Mapping[str, Any]]:
        return (record["entry"] for record in log.ordered() if record["entry"] is not None)

    writer.finish(entries)
    write_stream_atomically(
        out / MANIFEST, (json.dumps(record["manifest"]) + "\n" for record in log.ordered())
    )
    if sources.skipped:
        write_skipped(out / "skipped.jsonl", sources.skipped)
    write_text_atomically(out / CARD, write_card_text(about, counts))
    close_set(out)
    return counts


def _completed(out: Path, sources: Sources, limits: tuple[str, ...]) -> SynthesizeResult:
    """What a set holds that was complete when this call came."""
    drawn, rejected = 0, Counter[str]()
    with (out / MANIFEST).open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            drawn += 1
            if not row["accepted"]:
                rejected[row["gate"]["reason"]] += 1
    accepted = drawn - rejected.total()
    return SynthesizeResult(out, True, drawn, 0, accepted, dict(rejected), sources.skipped, limits)


def _draws_styles(translator: Translator) -> bool:
    return "random" in translator.adapter.styles


def _names(runs: Sequence[Path]) -> tuple[str, ...]:
    """Names of the run folders; one that comes again gets a number."""
    seen: Counter[str] = Counter()
    names = []
    for run in runs:
        name = run.resolve().name
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(names)


def _request(
    config: SynthesizeConfig,
    sources: Sources,
    writer: SetWriter,
    names: Sequence[str],
    translators: Sequence[Translator],
    gates: Sequence[Gate] | None,
    count: int,
) -> dict[str, Any]:
    """All that the bytes of a set depend on."""
    sections = [None] * len(names) if gates is None else [_gate_facts(gate) for gate in gates]
    facts = writer.facts
    return {
        "format": _FORMAT,
        "medi2i": version_of("medi2i"),
        "settings": config.model_dump(mode="json"),
        "count": count,
        "overlap": facts.overlap,
        "priority": [facts.structures[number] for number in facts.priority],
        "sources": {
            "images": len(sources.rows),
            "patients": len(set(sources.patients)),
            "patients_known": sources.patients_known,
            "structures": list(sources.structures),
            "fingerprint": sources.fingerprint,
        },
        "runs": [
            {"folder": name, **translator.origin, "gate": section}
            for name, translator, section in zip(names, translators, sections, strict=True)
        ],
    }


def _gate_facts(gate: Gate) -> dict[str, Any]:
    """Thresholds and where they are from, without what can't be written as JSON."""
    controls = gate.controls
    facts = asdict(controls.controls)
    facts["reasons"] = list(facts["reasons"])
    return facts | {
        "source": controls.calibrated_on,
        "side_px": controls.side_px,
        "thresholds": {key: _finite(value) for key, value in controls.thresholds.items()},
        "structures": {key: _finite(value) for key, value in controls.structures.items()},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
