"""A whole set: sources read, images made here or in processes, tables and card at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medi2i.data.manifest import Skipped, write_skipped
from medi2i.errors import NothingUsableError, UsageError
from medi2i.io.atomic import write_stream_atomically, write_text_atomically
from medi2i.io.hold import hold_folder
from medi2i.synthesis.card import CARD, About, Counts, write_card_text
from medi2i.synthesis.making import Task
from medi2i.synthesis.preparation import PreparedSet, prepare_set
from medi2i.synthesis.records import MANIFEST, ProgressLog, close_set, open_set
from medi2i.synthesis.settings import SynthesizeConfig
from medi2i.synthesis.sources import Sources, read_sources
from medi2i.synthesis.workers import make_images
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.progress import Progress

_REMEDY = "run the same command again: what is finished is kept"


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
    with stop_on_signals() as stop:
        prepared = prepare_set(config, runs, lambda: _read(config, source, stop, out), out=out, device=device)
        task, sources = prepared.task, prepared.task.sources
        with hold_folder(out, alone=shard is None):
            if open_set(out, prepared.request, alone=shard is None):
                return _completed(out, sources, prepared.limits)
            log = ProgressLog(out, shard or (1, 1), prepared.count)
            made = _make_missing(task, log, prepared.count, workers, shard or (1, 1), stop)
            drawn = sum(log.finished())
            if shard is not None:
                return SynthesizeResult(out, False, drawn, made, None, None, sources.skipped, prepared.limits)
            counts = _write_tables(out, config, prepared, log)
    return SynthesizeResult(
        out, True, drawn, made, counts.accepted, dict(counts.rejected), sources.skipped, prepared.limits
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


def _write_tables(out: Path, config: SynthesizeConfig, prepared: PreparedSet, log: ProgressLog) -> Counts:
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

    writer, sources = prepared.task.writer, prepared.task.sources
    writer.finish(entries)
    write_stream_atomically(
        out / MANIFEST, (json.dumps(record["manifest"]) + "\n" for record in log.ordered())
    )
    if sources.skipped:
        write_skipped(out / "skipped.jsonl", sources.skipped)
    about = About(config, prepared.request, sources.structures, writer.describe(), prepared.limits)
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
