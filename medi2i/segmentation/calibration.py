"""One temperature by which a segmenter's probabilities become frequencies."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float32
from scipy import optimize
from torch.nn import functional as F  # noqa: N812

_RANGE = (0.1, 10.0)
_MOST_VALUES = 4_000_000  # a number of one parameter needs no more


class Answers:
    """Logits of images and what is true there, thinned evenly to what a fit needs."""

    def __init__(self, images: int) -> None:
        self._most = max(1, _MOST_VALUES // max(1, images))
        self._logits: list[torch.Tensor] = []
        self._truth: list[torch.Tensor] = []

    def add(
        self,
        logits: Float32[np.ndarray, "K H W"],
        masks: Bool[np.ndarray, "K H W"],
        valid: Bool[np.ndarray, "H W"],
    ) -> None:
        """Take in the valid pixels of an image."""
        values, truth = logits[:, valid], masks[:, valid]
        stride = max(1, -(-values.size // self._most))
        self._logits.append(torch.from_numpy(values[:, ::stride].ravel()))
        self._truth.append(torch.from_numpy(truth[:, ::stride].ravel()).float())

    def fit_temperature(self) -> float:
        """T with the least cross-entropy of sigmoid(logit / T), between 0.1 and 10; 1 without a pixel.

        One number for all structures (Guo et al., ICML 2017, section 4.2, here with sigmoids). Above 1 the
        network was too sure. Which pixels reach 0.5 does not change.
        """
        logits = torch.cat(self._logits) if self._logits else torch.empty(0)
        if not logits.numel():
            return 1.0
        truth = torch.cat(self._truth)

        def surprise(log_temperature: float) -> float:
            scaled = logits / math.exp(log_temperature)
            return F.binary_cross_entropy_with_logits(scaled, truth).item()

        # convex in 1 / T, so it has one minimum in ln T
        bounds = tuple(math.log(end) for end in _RANGE)
        return math.exp(optimize.minimize_scalar(surprise, bounds=bounds, method="bounded").x)
