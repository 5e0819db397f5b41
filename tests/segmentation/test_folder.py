from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import load_masks
from medi2i.errors import OutputExistsError
from medi2i.segmentation import Segmenter, segment_folder
from tests.segmentation.squares import NAMES, SIDE, tiny_config, write_squares


class Bright(nn.Module):
    """Finds what is above -0.5 and above 0.5."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([image - 0.5, image + 0.5], dim=1)


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(Bright(), NAMES, tiny_config(), torch.device("cpu"))


def test_masks_are_written_under_the_names_by_which_a_data_set_folder_finds_them(
    segmenter: Segmenter, tmp_path: Path
):
    data, out = write_squares(tmp_path / "data", images=3), tmp_path / "out"
    assert segment_folder(segmenter, data / "images", out) == []
    (out / "images").symlink_to(data / "images")
    found, true = discover(out), discover(data)
    assert found.structures == NAMES
    for mine, theirs in zip(found.items, true.items, strict=True):
        masks = load_masks(mine.mask, NAMES, (SIDE, SIDE))
        # the inner square is bright, the rim around it is not dark, the rest is
        assert np.array_equal(masks, load_masks(theirs.mask, NAMES, (SIDE, SIDE)))


def test_a_folder_in_use_is_refused(segmenter: Segmenter, tmp_path: Path):
    data = write_squares(tmp_path / "data", images=1)
    with pytest.raises(OutputExistsError, match="choose another --out"):
        segment_folder(segmenter, data, data)
