"""How long a reader study is, and how long its pictures are shown."""

from __future__ import annotations

from pydantic import Field

from medi2i.config import Config


class ReaderStudyConfig(Config):
    """Settings of one page.

    40 pairs after 10 of practice, one second a picture: Isola et al. 2017 (pix2pix), §3.2. That protocol
    has no attention checks; with 6 of them a reader who clicks at random passes once in 64.

    Attributes:
        trials: pairs that count; fewer where the run holds too few images, and an even number.
        practice: pairs before them, of other images, whose answer is told.
        checks: pairs of a film and a spoiled film, hidden among the trials; one wrong answer excludes the
            reader.
        seconds: how long a picture is shown; None shows both for as long as the reader likes.
        side: rows and columns of the pictures, at most; all have the size of the smallest image.
        seed: draws images, pairs and order.
    """

    trials: int = Field(default=40, ge=4, le=500)
    practice: int = Field(default=10, ge=0, le=100)
    checks: int = Field(default=6, ge=1, le=50)
    seconds: float | None = Field(default=1.0, ge=0.1, le=60)
    side: int = Field(default=512, ge=16, le=512)
    seed: int = Field(default=0, ge=0)
