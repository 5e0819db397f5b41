"""What an evaluation is asked for: a run, settings and films; and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medi2i.adaptation.run_folder import RunFolder
from medi2i.downstream import Case
from medi2i.errors import InterruptedRunError, UsageError
from medi2i.proof.settings import EvaluateConfig
from medi2i.proof.takeover import FOLDER
from medi2i.training.engine import DeviceName


@dataclass(frozen=True)
class Asked:
    """One evaluation.

    Attributes:
        run: a run folder of `medi2i adapt`.
        config: settings.
        films: data set folder of labelled films that no training saw.
        predictions: name to folder of masks that other tools found on these films.
        device: where to compute.
    """

    run: Path
    config: EvaluateConfig
    films: Path | None = None
    predictions: Mapping[str, Path] = field(default_factory=dict)
    device: DeviceName = "auto"

    def open(self) -> RunFolder:
        """The run.

        Raises:
            UsageError: there is none.
        """
        if not self.run.is_dir():
            raise UsageError(
                self.run,
                found="no such folder",
                expected="the run folder of a finished `medi2i adapt`",
                remedy="check the path",
            )
        return RunFolder(self.run, device=self.device)

    def case(self, opened: RunFolder, films: Path) -> Case:
        """The run and the films, as the downstream table takes them."""
        return Case(
            domains=opened.domains,
            translated=opened.folder / "translated",
            source=opened.config.folder("source"),
            target=opened.config.folder("target"),
            films=films,
            out=opened.folder / FOLDER,
            translate_films=opened.translator,
            extra=self.predictions,
            device=opened.device,
        )


def interrupted(run: Path) -> InterruptedRunError:
    """What is said when somebody stops an evaluation."""
    return InterruptedRunError(
        run,
        found="interrupted",
        expected="to come to the end",
        remedy="run the same command again: trainings and scores that are finished are kept",
    )
