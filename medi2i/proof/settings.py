"""Every setting of `medi2i evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from medi2i.config import Config, find_preset, load_config
from medi2i.downstream import DownstreamConfig
from medi2i.preservation import PreservationConfig
from medi2i.training.engine import DeviceName, chooses_gpu


class EvaluateConfig(Config):
    """How a finished run is judged.

    Attributes:
        seed: of the controls: phantoms, warps, places and noise.
        preservation: controls, certificate and content test.
        downstream: segmenters trained on many kinds of images, where there are labelled films to test on.
    """

    seed: int = Field(default=0, ge=0)
    preservation: PreservationConfig = PreservationConfig()
    downstream: DownstreamConfig = DownstreamConfig()


def choose_config(preset: str | None, overrides: Sequence[str], device: DeviceName) -> EvaluateConfig:
    """The configuration that the command line asks for: without a preset, one that suits the device.

    Raises:
        ConfigError: no such preset, or an unknown key.
    """
    path = find_preset(preset or ("standard" if chooses_gpu(device) else "laptop"), "evaluate")
    return load_config(path, EvaluateConfig, overrides)
