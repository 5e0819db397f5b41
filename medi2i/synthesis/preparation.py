"""From settings, runs and sources to a task: what can be wrong is told here, before anything is written."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medi2i.adaptation.results import version_of
from medi2i.errors import UsageError
from medi2i.synthesis.draws import plan_draws
from medi2i.synthesis.formats import SetWriter, make_writer
from medi2i.synthesis.gate import Gate, for_structures, open_gate
from medi2i.synthesis.limits import known_limits
from medi2i.synthesis.making import Task
from medi2i.synthesis.settings import SynthesizeConfig
from medi2i.synthesis.sources import Sources
from medi2i.training.engine import DeviceName
from medi2i.translation import StyleRequest, Translator, choose_looks, load_translator

_FORMAT = 1  # raised when the same request gives other bytes


@dataclass(frozen=True)
class PreparedSet:
    """A set that can be made.

    Attributes:
        task: what a process needs to make any of its images.
        count: images drawn.
        request: all that its bytes depend on; JSON.
        limits: what is known to be wrong with it.
    """

    task: Task
    count: int
    request: Mapping[str, Any]
    limits: tuple[str, ...]


def prepare_set(
    config: SynthesizeConfig,
    runs: Sequence[Path],
    read: Callable[[], Sources],
    *,
    out: Path,
    device: DeviceName,
) -> PreparedSet:
    """Check that settings, runs and sources fit together; nothing is written.

    Args:
        config: settings.
        runs: run folders.
        read: reads the sources, which takes its time, once the runs are known to be good.
        out: the set's folder.
        device: where the runs compute.

    Raises:
        As `synthesize`, but for what writing can raise.
    """
    _require_different(runs)
    translators = [load_translator(run, device=device) for run in runs]
    gates = tuple(open_gate(run) for run in runs) if config.gate else None
    for translator in translators:  # refuses attributes that the method does not know
        choose_looks(translator, "source-to-target", StyleRequest(attributes=config.attributes))
    sources = read()
    made_of = [config.model_dump_json(), sources.fingerprint, *(str(t.origin) for t in translators)]
    set_key = hashlib.sha256("|".join(made_of).encode()).hexdigest()
    writer = make_writer(
        config, out, sources.structures, sources.convention, keys=(sources.images_hash, set_key)
    )
    plan, count = plan_draws(config, sources, [_draws_styles(each) for each in translators])
    names = _names(runs)
    if gates is not None:
        gates = tuple(for_structures(gate, sources.structures) for gate in gates)
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
    request = _request(config, sources, writer, names, translators, gates, count)
    return PreparedSet(task, count, request, known_limits(config, sources, runs, names, gates))


def _require_different(runs: Sequence[Path]) -> None:
    twice = [run for run, count in Counter(run.resolve() for run in runs).items() if count > 1]
    if twice:
        raise UsageError(
            twice[0],
            found="the same run twice: its images would come twice",
            expected="different runs",
            remedy="name it once; --styles and --randomise give an image several looks",
        )


def _draws_styles(translator: Translator) -> bool:
    return "random" in translator.adapter.styles


def _names(runs: Sequence[Path]) -> tuple[str, ...]:
    """Names of the run folders; those of the same name get a number."""
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
