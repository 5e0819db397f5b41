"""How crops are framed in the rows with framing; chosen without any test film."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from medi2i.config import load_config, validate_config
from medi2i.data.dataset_folder import metadata_root
from medi2i.data.settings import FramingConfig
from medi2i.data.table_files import read_json
from medi2i.downstream.material import Material
from medi2i.errors import NothingUsableError, UsageError
from medi2i.evaluation import Domains
from medi2i.io.atomic import write_text_atomically
from medi2i.segmentation.framing import CropFraming, FramingFile, fit_crop_framing

_FITTED = ("framing.yaml", "augmentation.yaml")  # what `medi2i drr --framing fit` leaves
_STORED = "framing.json"


def choose_framing(
    asked: str,
    own: FramingConfig | None,
    *,
    source: Path,
    material: Material,
    domains: Domains,
    target: Path,
    out: Path,
) -> CropFraming:
    """The framing that settings ask for, in a form for crops and in words.

    Args:
        asked: `auto`, `fit`, `none`, or a file.
        own: the segmenter's own, for images that are framed like films already.
        source: the run's source folder.
        material: source images.
        domains: the run's images; the fit is theirs.
        target: the run's unlabelled films.
        out: working folder, where a fit is kept.

    Raises:
        ConfigError: the file is wrong.
        NothingUsableError: `fit` was asked for, and too few films fit.
    """
    small = own or FramingConfig()
    if asked == "none":
        return CropFraming(small, "no rows with framing")
    if asked == "auto" and is_framed(source):
        return CropFraming(small, "the segmenter's own, small: the source is framed like films already")
    if asked in ("auto", "fit"):
        try:
            return _fit_once(material, domains, target, out)
        except (NothingUsableError, UsageError) as error:  # the latter: images too small to be compared
            if asked == "fit":
                raise
            return CropFraming(small, f"the segmenter's own, small: no fit to the target ({error.found})")
    return CropFraming(load_config(Path(asked), FramingFile).framing, f"of {Path(asked).name}")


def is_framed(source: Path) -> bool:
    """Whether a folder of DRRs was rendered with `--framing`: a fit lies in it, or its views have frames."""
    root = metadata_root(source)
    if any((root / name).is_file() for name in _FITTED):
        return True
    views = read_json(root / "views.json").get("views", [])
    return any(isinstance(view, dict) and bool(view.get("frame")) for view in views)


def _fit_once(material: Material, domains: Domains, target: Path, out: Path) -> CropFraming:
    facts = [material.digest, [row.sha256 for row in domains.target]]
    mark, path = hashlib.sha256(json.dumps(facts).encode()).hexdigest(), out / _STORED
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["fingerprint"] == mark:
            return CropFraming(validate_config(stored["framing"], FramingConfig, str(path)), stored["note"])
    fitted = fit_crop_framing([material.folder], target)
    stored = {
        "fingerprint": mark,
        "framing": fitted.framing.model_dump(mode="json"),
        "note": fitted.note,
    }
    write_text_atomically(path, json.dumps(stored, indent=1))
    return fitted
