"""Which segmenter judges, and what it finds in an image of any scale."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from medi2i.config import Config, find_preset, load_config
from medi2i.errors import ConfigError
from medi2i.image import Radiograph, RadiographHeader, fit_intensity
from medi2i.segmentation.prediction import Segmenter
from medi2i.segmentation.settings import SegmenterConfig

SURE = 0.5  # probability from which a pixel belongs to a structure


class SegmenterChoice(Config):
    """A preset of configs/segment or a YAML file, and changes of it, as `--set` makes them."""

    config: str = "laptop"
    set: tuple[str, ...] = ()

    def load(self) -> SegmenterConfig:
        """The segmenter's settings.

        Raises:
            ConfigError: no such preset, a wrong change, or intensities that are not each image's own:
                translations and films have no common scale.
        """
        config = load_config(find_preset(self.config, "segment"), SegmenterConfig, self.set)
        fit = config.data.source_intensity.fit
        if fit != "image":
            raise ConfigError(
                "segmenter data.source_intensity.fit",
                found=fit,
                expected="image",
                remedy="take each image's own range",
            )
        return config


def segment_image(
    segmenter: Segmenter, image: np.ndarray, valid: Bool[np.ndarray, "H W"]
) -> Bool[np.ndarray, "K H W"]:
    """What a segmenter finds in an image of any scale, brought to [-1, 1] by the image's own range."""
    rows, columns = image.shape
    header = RadiographHeader("npy", rows, columns)
    radiograph = Radiograph(np.asarray(image, dtype=np.float32), valid, header)
    intensity = fit_intensity(radiograph, segmenter.config.data.source_intensity)
    answer: Bool[np.ndarray, "K H W"] = (
        segmenter.predict(intensity.to_network(radiograph.pixels, header), valid) >= SURE
    )
    return answer
