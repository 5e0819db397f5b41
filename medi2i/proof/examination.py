"""What an evaluation says of a run without one label of a film: instruments on trial, and what they find."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from medi2i.adaptation.results import version_of
from medi2i.adaptation.run_folder import RunFolder
from medi2i.evaluation import write_results
from medi2i.preservation import (
    RunControls,
    judge_instruments,
    measure_hidden,
    measure_planted,
    measure_preservation,
    measure_realism,
)
from medi2i.proof.settings import EvaluateConfig
from medi2i.proof.takeover import FOLDER
from medi2i.training.interruption import StopRequest


def examine(
    opened: RunFolder, config: EvaluateConfig, stop: StopRequest
) -> tuple[RunControls, dict[str, Any]]:
    """Try the instruments, and measure preservation and realism with them.

    What an earlier call found with the same settings, weights and thresholds is not measured again.

    Returns:
        the trial, and the sections `controls`, `preservation` and `realism` of results.json.

    Raises:
        InterruptedRunError: a stop was requested; calling again continues.
    """
    controls = judge_instruments(
        opened.domains, out=opened.folder, config=config.preservation, seed=config.seed, stop=stop
    )
    facts = {
        "medi2i": version_of("medi2i"),
        "config": config.model_dump(mode="json", include={"seed", "preservation"}),
        "weights": opened.translator.origin["weights_sha256"],
        "images": [row.sha256 for row in opened.domains.source],
        "controls": controls.section,
    }
    key = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
    path = opened.folder / FOLDER / "examined.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if kept.get("key") != key:
        kept = write_results(path, {"key": key, "sections": _measure(opened, controls, config, stop)})
    sections: dict[str, Any] = kept["sections"]
    return controls, sections


def _measure(
    opened: RunFolder, controls: RunControls, config: EvaluateConfig, stop: StopRequest
) -> dict[str, Any]:
    """Everything that needs no label of a film."""
    settings, domains, run = config.preservation, opened.domains, opened.folder
    seed, translate = config.seed, opened.translate_source
    preservation = measure_preservation(
        domains, opened.translation, controls, out=run, config=settings, stop=stop
    )
    preservation["content_controls"] = measure_planted(
        domains, translate, controls, out=run, config=settings, seed=seed, stop=stop
    )
    preservation["steganography"] = measure_hidden(
        domains,
        translate,
        opened.translate_back if opened.bidirectional else None,
        config=settings,
        seed=seed,
        stop=stop,
    )
    realism = measure_realism(
        domains,
        opened.translation,
        feature_size=opened.config.evaluation.feature_size,
        config=settings,
        seed=seed,
        stop=stop,
    )
    return {"controls": dict(controls.section), "preservation": preservation, "realism": realism}
