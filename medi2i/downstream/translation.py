"""Films through a run's method, from the target to the source domain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from medi2i.image import Radiograph, choose_intensity
from medi2i.translation import Translator, translate_plainly

FilmTranslation = Callable[[Radiograph], Float32[np.ndarray, "H W"]]


def film_translation(translator: Translator) -> FilmTranslation | None:
    """A film as an image of the source domain in [-1, 1], at its own matrix; None for a one-way method."""
    if not translator.adapter.bidirectional:
        return None

    def translate(film: Radiograph) -> Float32[np.ndarray, "H W"]:
        incoming = choose_intensity(film, translator.data.target_intensity, translator.intensities["target"])
        image = incoming.to_network(film.pixels, film.header)
        return translate_plainly(translator, image, film.valid, "target-to-source")

    return translate
