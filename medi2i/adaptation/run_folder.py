"""A finished run, opened: its images, its translations, its method, and true films where there are any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from medi2i.adaptation.preparation import read_preparation, to_domains
from medi2i.adaptation.settings import AdaptConfig, load_run_config
from medi2i.adaptation.truth import find_truth
from medi2i.errors import CheckpointError
from medi2i.evaluation import Domains, NetworkImage, Translation, translated_images
from medi2i.evaluation.truth import true_image
from medi2i.training.engine import DeviceName
from medi2i.translation import Translator, load_translator, translate_plainly


@dataclass(frozen=True)
class RunFolder:
    """One run folder of `medi2i adapt`; what it holds is read when it is first asked for.

    Attributes:
        folder: the run folder.
        device: where to compute.
    """

    folder: Path
    device: DeviceName = field(default="auto", kw_only=True)

    @cached_property
    def config(self) -> AdaptConfig:
        """The run's settings."""
        return load_run_config(self.folder)

    @cached_property
    def domains(self) -> Domains:
        """The run's images.

        Raises:
            CheckpointError: the run holds no manifest.
        """
        found = read_preparation(self.folder)
        if found is None:
            raise CheckpointError(
                self.folder,
                found="no manifest.jsonl",
                expected="a finished run",
                remedy="finish it with `medi2i adapt --resume --out RUN`, or check the path",
            )
        return to_domains(found, self.config)

    @cached_property
    def truth(self) -> dict[str, Path]:
        """True target images by the id of their source image; empty where there are none."""
        return find_truth(self.config.truth, self.domains.source)

    @cached_property
    def translation(self) -> Translation:
        """Source images as the run translated and wrote them."""
        return translated_images(self.domains, self.folder / "translated")

    @cached_property
    def translator(self) -> Translator:
        """The run's method, for images that the run has not written."""
        return load_translator(self.folder, device=self.device)

    def test_images(self, domain: str = "source") -> Iterator[NetworkImage]:
        """Whole images that were never trained on, one at a time."""
        return self.domains.images(domain, "test")

    def true_film(self, image: NetworkImage) -> tuple[np.ndarray, np.ndarray] | None:
        """The true film (H, W) in [-1, 1] of a source image, and where both are valid; None without one."""
        path = self.truth.get(image.row.id)
        return None if path is None else true_image(path, image, self.domains)

    @property
    def bidirectional(self) -> bool:
        """Whether the method has a way back."""
        return bool(self.translator.adapter.bidirectional)

    def translate_source(self, image: NetworkImage) -> np.ndarray:
        """A source image (H, W) in [-1, 1] through the method, as the run would; nothing is written."""
        return translate_plainly(self.translator, image.image, image.valid, "source-to-target")

    def translate_back(self, image: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """A film (H, W) in [-1, 1] as an image of the source domain.

        Raises:
            UsageError: the method goes one way, see `bidirectional`.
        """
        return translate_plainly(self.translator, image, valid, "target-to-source")
