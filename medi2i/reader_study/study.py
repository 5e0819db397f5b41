"""From a finished run to one page that asks readers, and the key that is kept from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medi2i.data.manifest import ManifestRow
from medi2i.errors import OutputExistsError
from medi2i.evaluation import Domains, Translation
from medi2i.evaluation.domains import patients
from medi2i.io.atomic import write_text_atomically
from medi2i.reader_study.key import KEY_FORMAT, Key, name_study, to_key_pairs, write_key
from medi2i.reader_study.page import compose_page
from medi2i.reader_study.pictures import encode_png, spoil, to_picture
from medi2i.reader_study.settings import ReaderStudyConfig
from medi2i.reader_study.trials import Pair, Picture, draw_pairs


@dataclass(frozen=True)
class WrittenStudy:
    """A page and its key.

    Attributes:
        side: rows and columns of its pictures.
    """

    page: Path
    key_path: Path
    key: Key
    side: int


def write_study(
    domains: Domains,
    translation: Translation,
    *,
    translated: Sequence[ManifestRow],
    run: Path,
    out: Path,
    config: ReaderStudyConfig,
) -> WrittenStudy:
    """Draw pairs of films and translated images, and write the page that shows them.

    Args:
        domains: the run's images.
        translation: source images as the run translated and wrote them.
        translated: the source images that it has translated.
        run: the run folder; the key goes into its `reader_study/`.
        out: the page, a new file.
        config: how many pairs, how long.

    Raises:
        NothingUsableError: too few images for four pairs and a check.
        OutputExistsError: `out` exists: readers may have it already.
        UnreadableImageError: an image can't be decoded any more.
    """
    if out.exists():
        raise OutputExistsError(
            out, found="something there", expected="a new file", remedy="choose another --out"
        )
    rng = np.random.default_rng(config.seed)
    pairs = draw_pairs(translated, domains.target, config, rng)
    rows = {row.id: row for row in (*domains.source, *domains.target)}
    shown = [picture for pair in pairs for picture in pair.shown]
    smallest = min(min(rows[picture.id].rows, rows[picture.id].columns) for picture in shown)
    side = min(config.side, smallest)  # none is enlarged: softness would tell
    pictures = {
        picture.token: _draw_picture(picture, rows[picture.id], domains, translation, side, rng)
        for picture in shown
    }
    key = Key(
        format=KEY_FORMAT,
        study=name_study(pairs, config),
        seconds=config.seconds,
        splits={
            domain: dict(Counter(row.split for row in used)) for domain, used in _used(pairs, rows).items()
        },
        patients={domain: _count_patients(used) for domain, used in _used(pairs, rows).items()},
        pairs=to_key_pairs(pairs),
    )
    text = compose_page(key.study, pairs, pictures, config)
    key_path = write_key(run, key)
    write_text_atomically(out, text)
    return WrittenStudy(out, key_path, key, side)


def _draw_picture(
    picture: Picture,
    row: ManifestRow,
    domains: Domains,
    translation: Translation,
    side: int,
    rng: np.random.Generator,
) -> bytes:
    image = domains.read(row)
    pixels = translation(image) if picture.kind == "translated" else image.image
    drawn = to_picture(pixels, image.valid, side)
    return encode_png(spoil(drawn, rng) if picture.kind == "spoiled" else drawn)


def _used(pairs: Sequence[Pair], rows: dict[str, ManifestRow]) -> dict[str, list[ManifestRow]]:
    """Images of the trials, by domain."""
    trials = [pair for pair in pairs if pair.kind == "trial"]
    return {
        "source": [rows[pair.other.id] for pair in trials],
        "target": [rows[pair.real.id] for pair in trials],
    }


def _count_patients(rows: Sequence[ManifestRow]) -> int | None:
    labels = patients(rows)
    return None if labels is None else len(set(labels))
