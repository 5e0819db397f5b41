"""A trained translation inside MONAI's `Compose`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from medi2i.adapters import Direction
from medi2i.adapters.base import StyleKind
from medi2i.errors import UsageError
from medi2i.training.engine import DeviceName
from medi2i.translation.arrays import StyleCode, translate_array
from medi2i.translation.styles import methods_where
from medi2i.translation.translator import Translator, load_translator

_MOST_DRAWS = 2**31 - 1


class Medi2iTranslated(MapTransform):
    """Images of a dictionary, translated by a run: the same image always gives the same pixels.

    Put it behind `LoadImaged(keys, reader=RadiographReader(), ensure_channel_first=True)`, before anything
    that scales values: the run has its own map of them. Matrix and metadata stay, so masks and spacing are as
    true as before. The run is opened when the first image comes, in each worker process.

    Args:
        keys: of the images, each (1, H, W).
        run: a run folder of `medi2i adapt`.
        direction: which way.
        style: a kind, a number for the n-th look of each image, or a code; None is the method's own choice.
            See `translate_array`.
        references: images or folders, for the style `reference`.
        attributes: acquisition of the output, of a method that knows it.
        device: where to compute.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        run: Path | str,
        *,
        direction: Direction = "source-to-target",
        style: StyleKind | int | StyleCode | None = None,
        references: Sequence[Path | str] = (),
        attributes: Mapping[str, str] | None = None,
        device: DeviceName = "auto",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.run = Path(run)
        self.direction: Direction = direction
        self.style = style
        self.references = tuple(Path(path) for path in references)
        self.attributes = dict(attributes or {})
        self.device: DeviceName = device
        self._translator: Translator | None = None

    @property
    def translator(self) -> Translator:
        """The run, opened.

        Raises:
            UsageError: there is no such folder.
            CheckpointError: it holds no (undamaged) checkpoint.
        """
        if self._translator is None:
            self._translator = load_translator(self.run, device=self.device)
        return self._translator

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with its images translated.

        Raises:
            As `translate_array`.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            changed[key] = self._translate(changed[key], self.style)
        return changed

    def _translate(self, image: Any, style: StyleKind | int | StyleCode | None) -> Any:
        return translate_array(
            self.translator,
            image,
            direction=self.direction,
            style=style,
            references=self.references,
            attributes=self.attributes,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without the opened run: each worker process opens its own."""
        return self.__dict__ | {"_translator": None}


class RandMedi2iTranslated(RandomizableTransform, Medi2iTranslated):
    """`Medi2iTranslated` in a look that is drawn anew each time, of a method with styles.

    All keys get the same draw. `set_random_state` decides the draws, of this transform or of its `Compose`.

    Args:
        keys, run, direction, attributes, device, allow_missing_keys: as of `Medi2iTranslated`.
        prob: how often images are translated at all; otherwise they stay as they are.
    """

    def __init__(
        self,
        keys: KeysCollection,
        run: Path | str,
        *,
        prob: float = 1.0,
        direction: Direction = "source-to-target",
        attributes: Mapping[str, str] | None = None,
        device: DeviceName = "auto",
        allow_missing_keys: bool = False,
    ) -> None:
        Medi2iTranslated.__init__(
            self,
            keys,
            run,
            direction=direction,
            attributes=attributes,
            device=device,
            allow_missing_keys=allow_missing_keys,
        )
        RandomizableTransform.__init__(self, prob)
        self._draw = 0

    def randomize(self, data: Any = None) -> None:
        """Draw whether, and which look."""
        super().randomize(None)
        self._draw = int(self.R.randint(_MOST_DRAWS, dtype=np.int64))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with its images translated in a new look.

        Raises:
            UsageError: the method gives each image one look; otherwise as `translate_array`.
        """
        self._require_styles()
        self.randomize()
        changed = dict(data)
        if self._do_transform:
            for key in self.key_iterator(changed):
                changed[key] = self._translate(changed[key], self._draw)
        return changed

    def _require_styles(self) -> None:
        if not self.translator.adapter.styles:
            raise UsageError(
                type(self).__name__,
                found=f"method '{self.translator.origin['method']}', which gives each image one look",
                expected=f"a run of a method with styles: {', '.join(methods_where('styles'))}",
                remedy="use Medi2iTranslated",
            )
