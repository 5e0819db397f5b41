"""What `inference.json` of an exported bundle is made of; MONAI builds these by their names.

Each does a part of what `medi2i translate` does, with the same functions, so that both give the same pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import MapTransform
from torch import Tensor, nn

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import load_masks
from medi2i.errors import CheckpointError
from medi2i.image import IntensityConfig, IntensityMap, Radiograph, choose_intensity
from medi2i.io import output_name, write_radiograph
from medi2i.translation.arrays import like_input, to_radiograph
from medi2i.translation.scale import pad_to_multiple, to_own_matrix, to_working_scale

_VALID, _PREPARED = "valid", "prepared"


@dataclass(frozen=True)
class Prepared:
    """An image before it went to the network.

    Attributes:
        radiograph: as it was read.
        loaded: the tensor that it came in, for its metadata.
        full: (H, W) in [-1, 1] at its own matrix.
        small: (1, h, w) at working scale, before it was padded.
    """

    radiograph: Radiograph
    loaded: Tensor
    full: np.ndarray
    small: Tensor


def list_images(folder: str) -> list[dict[str, Any]]:
    """Images of an image file or data set folder, with the valid area that the folder gives.

    Raises:
        UsageError: there is no such file or folder.
        NothingUsableError: there is no image.
    """
    return [
        {"image": str(item.path), "name": item.relative.as_posix(), "area": item.valid and str(item.valid)}
        for item in discover(Path(folder)).items
    ]


class ToNetworkd(MapTransform):
    """From what a file holds to what the network sees: the intensity map, working scale, padding.

    Behind `LoadImaged(reader=RadiographReader(), ensure_channel_first=True)`. Adds `valid`, where the network
    sees an image, and `prepared`, from which `FromNetworkd` goes back.

    Args:
        keys: of the images.
        intensity: `fit`, percentiles, and the domain's `low` and `high`.
        working_size: longer side at which the network sees an image; None for the image's own.
        size_multiple: of the network's sides.
    """

    def __init__(
        self,
        keys: KeysCollection,
        intensity: Mapping[str, Any],
        working_size: int | None,
        size_multiple: int,
    ) -> None:
        super().__init__(keys)
        bounds = ("low", "high")
        self.settings = IntensityConfig.model_validate(
            {key: value for key, value in intensity.items() if key not in bounds}
        )
        self.domain_map = IntensityMap.from_dict({key: intensity[key] for key in bounds})
        self.working_size = working_size
        self.size_multiple = size_multiple

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with each image (1, h, w) in [-1, 1]."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            loaded = changed[key]
            radiograph = to_radiograph(loaded)
            if changed.get("area"):
                given = load_masks(Path(changed["area"]), ("valid",), radiograph.pixels.shape)[0]
                radiograph = dataclasses.replace(radiograph, valid=radiograph.valid & given)
            mapping = choose_intensity(radiograph, self.settings, self.domain_map)
            full = mapping.to_network(radiograph.pixels, radiograph.header)
            small, small_valid = to_working_scale(full, radiograph.valid, self.working_size)
            image, valid = pad_to_multiple(small, small_valid, self.size_multiple)
            changed[key] = MetaTensor(image, meta=getattr(loaded, "meta", None))
            changed[_VALID] = valid
            changed[_PREPARED] = Prepared(radiograph, loaded, full, small)
        return changed


class FromNetworkd(MapTransform):
    """From the network's output to the image's own matrix and range: the inverse map of the output's domain.

    Adds `<key>_stored`, what a file of the input's format holds: codes, or float32.

    Args:
        keys: of the outputs.
        intensity: the output domain's `low` and `high`.
    """

    def __init__(self, keys: KeysCollection, intensity: Mapping[str, float]) -> None:
        super().__init__(keys)
        self.domain_map = IntensityMap.from_dict(dict(intensity))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with each output (1, H, W) as the input was.

        Raises:
            CheckpointError: an output is not finite.
        """
        changed = dict(data)
        prepared: Prepared = changed[_PREPARED]
        rows, columns = prepared.small.shape[-2:]
        header = prepared.radiograph.header
        for key in self.key_iterator(changed):
            output = torch.as_tensor(changed[key])[:, :rows, :columns].float().cpu()
            if not bool(torch.isfinite(output).all()):
                raise CheckpointError(
                    "models/model.pt",
                    found="weights that translate an image to NaN or infinite values",
                    expected="finite values in [-1, 1]",
                    remedy="export another run",
                )
            translated, _ = to_own_matrix(prepared.full, prepared.radiograph.valid, prepared.small, output)
            stored = self.domain_map.to_stored(translated, header)
            changed[f"{key}_stored"] = stored
            changed[key] = like_input(prepared.loaded, stored, header)
        return changed


class SaveRadiographd(MapTransform):
    """Write outputs as their inputs were stored: format, matrix, spacing, bit depth; JPEG becomes PNG.

    Args:
        keys: of the outputs that `FromNetworkd` made.
        output_dir: folder; names are those of the inputs.
        method: name of the translation, for the description of a DICOM object.
    """

    def __init__(self, keys: KeysCollection, output_dir: str, method: str) -> None:
        super().__init__(keys)
        self.folder = Path(output_dir)
        self.method = method

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary as it is, its outputs written.

        Raises:
            DiskFullError: there is no room.
        """
        prepared: Prepared = data[_PREPARED]
        source = Path(str(prepared.loaded.meta["filename_or_obj"]))  # type: ignore[attr-defined]
        name = output_name(Path(str(data.get("name", source.name))))
        for key in self.key_iterator(dict(data)):
            write_radiograph(
                self.folder / name,
                data[f"{key}_stored"],
                header=prepared.radiograph.header,
                template=source,
                method=self.method,
            )
        return dict(data)


class TranslationInferer(Inferer):
    """The network on whole images, told the look that is wanted.

    Args:
        style: of a method with styles; None is its own choice. See `TranslationNetwork.forward`.
        attributes: of a method that knows them, names and values.
    """

    def __init__(
        self, style: str | int | Sequence[float] | None = None, attributes: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.style = style
        self.attributes = attributes

    def __call__(
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, valid: Tensor | None = None
    ) -> Tensor:
        """Translated images (B, 1, H, W)."""
        return network(inputs, valid, self.style, self.attributes or None)


class TranslationEvaluator:
    """One image after the other through network and postprocessing; needs no pytorch-ignite.

    Args:
        device: where the network is.
        dataset: of preprocessed images.
        network, inferer, postprocessing: the bundle's.
    """

    def __init__(
        self,
        device: Any,
        dataset: Any,
        network: nn.Module,
        inferer: Inferer,
        postprocessing: Callable[[dict[Hashable, Any]], Any],
    ) -> None:
        self.device = torch.device(device)
        self.dataset = dataset
        self.network = network
        self.inferer = inferer
        self.postprocessing = postprocessing

    def run(self) -> int:
        """Translate every image.

        Returns:
            how many there were.
        """
        self.network.eval()
        for number in range(len(self.dataset)):
            item = self.dataset[number]
            image = torch.as_tensor(item["image"])[None].to(self.device)
            with torch.inference_mode():
                output = self.inferer(image, self.network, valid=item[_VALID][None].to(self.device))
            # as a plain tensor: the metadata are the input's, at another matrix
            self.postprocessing(item | {"pred": torch.Tensor(output[0].float().cpu())})
        return len(self.dataset)
