import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import LoadImaged
from PIL import Image

from medi2i.errors import UnreadableImageError
from medi2i.io.reader import RadiographReader

# LoadImage builds all of MONAI's readers, one of which misses its optional library
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")


def test_load_imaged_keeps_rows_columns_polarity_and_spacing(make_dicom, ramp):
    path = make_dicom(
        ramp, bits=12, photometric="MONOCHROME1", ImagerPixelSpacing=[0.1, 0.2], PixelPaddingValue=0
    )
    load = LoadImaged("image", reader=RadiographReader(), ensure_channel_first=True)
    image = load({"image": path})["image"]
    assert image.shape == (1, 6, 8)
    assert image.dtype == torch.float32
    assert np.array_equal(image[0].numpy(), 4095 - ramp.astype(np.float32))
    assert torch.diagonal(image.affine).tolist() == pytest.approx([0.1, 0.2, 1, 1])
    assert image.meta["spacing_mm"] == (0.1, 0.2)
    assert image.meta["original_channel_dim"] == "no_channel"
    assert not image.meta["valid"][0, 0] and image.meta["valid"].sum() == 47
    assert "token" not in str(image.meta)


def test_every_format_loads_and_batches(tmp_path, make_dicom, ramp):
    Image.fromarray(ramp).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", ramp.astype(np.float32))
    paths = [make_dicom(ramp, bits=12, PixelSpacing=[1, 2]), tmp_path / "a.png", tmp_path / "b.npy"]
    load = LoadImaged("image", reader=RadiographReader, ensure_channel_first=True)
    batch = next(iter(DataLoader(Dataset([{"image": path} for path in paths], load), batch_size=3)))
    assert torch.equal(
        batch["image"].as_tensor(), torch.from_numpy(ramp.astype(np.float32)).expand(3, 1, 6, 8)
    )


def test_a_refused_file_is_not_handed_to_monais_own_readers(make_dicom, ramp):
    path = make_dicom(ramp, bits=12, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT")
    with pytest.raises(UnreadableImageError, match="CT Image"):
        LoadImaged("image", reader=RadiographReader())({"image": path})


def test_suffixes_are_verified_by_content(make_dicom, ramp, tmp_path):
    bare = make_dicom(ramp, bits=12).rename(tmp_path / "IM0001")
    (tmp_path / "a.txt").write_text("x")
    assert RadiographReader().verify_suffix([bare])
    assert not RadiographReader().verify_suffix([bare, tmp_path / "a.txt"])
