"""Every setting of the main job, and which of them the command line asks for."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from medi2i.adapters import AdapterConfig, CycleGANConfig
from medi2i.config import Config, find_preset, load_config
from medi2i.data.settings import DataConfig
from medi2i.errors import ConfigError, UsageError
from medi2i.evaluation import EvaluationConfig
from medi2i.image import Domain
from medi2i.segmentation.settings import SegmenterConfig
from medi2i.training.engine import DeviceName, chooses_gpu
from medi2i.training.settings import TrainingConfig

_OPTIONS = {"source": "--src", "target": "--tgt"}


class AdaptConfig(Config):
    """The whole job. Saved as `config.yaml` of the run: `medi2i adapt --config` with it repeats the run.

    Attributes:
        source, target: folders of the two domains; `--src` and `--tgt` stand above them.
        truth: folder of true target images for some source images (same names): measured, never trained on.
        init_from: run whose weights training starts from.
        training: not needed for methods that learn nothing.
        segmenter: of structure losses that ask one; without it the preset `laptop` of `configs/segment`. Its
            `data`, `seed` and `training.precision` are the method's.
    """

    source: str | None = None
    target: str | None = None
    truth: str | None = None
    init_from: str | None = None
    seed: int = Field(default=0, ge=0)
    adapter: AdapterConfig = CycleGANConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig | None = None
    segmenter: SegmenterConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()

    def folder(self, domain: Domain) -> Path:
        """Folder of a domain.

        Raises:
            UsageError: it is not given.
        """
        location = self.source if domain == "source" else self.target
        if location is None:
            raise UsageError(
                _OPTIONS[domain],
                found="nothing",
                expected=f"the folder of the {domain} domain",
                remedy="give it",
            )
        return Path(location)

    def require_training(self) -> TrainingConfig:
        """Settings of the training.

        Raises:
            ConfigError: there is no section for it.
        """
        if self.training is None:
            raise ConfigError(
                "training",
                found="no such section",
                expected=f"'training' with 'steps' or 'epochs': {self.adapter.name} has to be trained",
                remedy="see configs/adapt/ for examples",
            )
        return self.training


def choose_config(
    method: str | None, config: str | None, overrides: Sequence[str], device: DeviceName
) -> AdaptConfig:
    """The configuration the command line asks for.

    A method without a configuration takes `<method>_laptop` on a CPU and `<method>` on a GPU; a method that
    learns nothing has one preset for both.

    Raises:
        ConfigError: no such preset, an unknown key, or a configuration of another method.
    """
    if config is None:
        name = method or "cyclegan"
        laptop = device != "mps" and not chooses_gpu(device)
        try:
            path = find_preset(f"{name}_laptop" if laptop else name, "adapt")
        except ConfigError:
            path = find_preset(name, "adapt")
    else:
        path = find_preset(config, "adapt")
    chosen = load_config(path, AdaptConfig, overrides)
    if method is not None and chosen.adapter.name != method:
        raise ConfigError(
            path,
            found=f"method '{chosen.adapter.name}'",
            expected=f"method '{method}', as --method says",
            remedy="drop --method or choose another --config",
        )
    return chosen


def load_run_config(run: Path) -> AdaptConfig:
    """The configuration a run was started with.

    Raises:
        ConfigError: the run's config.yaml is missing or damaged.
    """
    return load_config(run / "config.yaml", AdaptConfig)


def default_run_folder(method: str, today: datetime.datetime | None = None) -> Path:
    """`runs/<date>-<method>`, with a number when that exists."""
    today = today or datetime.datetime.now()
    base = Path("runs") / f"{today:%Y-%m-%d}-{method}"
    numbered = [base, *(base.with_name(f"{base.name}-{n}") for n in range(2, 10_000))]
    return next(path for path in numbered if not path.exists())
