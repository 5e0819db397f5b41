"""Whole images through a trained method: one image, a data set folder, and the looks an image may get."""

from medi2i.translation.arrays import translate_array
from medi2i.translation.folder import translate
from medi2i.translation.images import write_translations
from medi2i.translation.styles import (
    Look,
    StyleRequest,
    choose_looks,
    methods_where,
    parse_assignments,
    read_reference,
    require_direction,
    translate_plainly,
)
from medi2i.translation.transforms import Medi2iTranslated, RandMedi2iTranslated
from medi2i.translation.translator import (
    Translator,
    build_adapter,
    domains,
    load_translator,
    translate_whole,
)

__all__ = [
    "Look",
    "Medi2iTranslated",
    "RandMedi2iTranslated",
    "StyleRequest",
    "Translator",
    "build_adapter",
    "choose_looks",
    "domains",
    "load_translator",
    "methods_where",
    "parse_assignments",
    "read_reference",
    "require_direction",
    "translate",
    "translate_array",
    "translate_plainly",
    "translate_whole",
    "write_translations",
]
