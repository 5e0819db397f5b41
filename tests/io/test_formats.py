import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medi2i.errors import UnreadableImageError
from medi2i.io import FORMATS, is_image, output_name, read_radiograph


def test_content_decides_before_the_name(tmp_path, ramp, make_dicom):
    Image.fromarray(ramp).save(tmp_path / "a.dcm", format="PNG")
    assert read_radiograph(tmp_path / "a.dcm").header.format == "png"
    bare = make_dicom(ramp, bits=12).rename(tmp_path / "IM0001")
    assert read_radiograph(bare).header.format == "dicom"


def test_a_damaged_image_is_an_image_by_its_name(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nonsense")
    assert is_image(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=r"a\.png: image file that cannot be decoded"):
        read_radiograph(tmp_path / "a.png")


@pytest.mark.parametrize(
    "name", ["SOURCE.txt", "a.csv", "a.json", "a.md", ".a.png", "._a.dcm", "DICOMDIR", "LICENSE"]
)
def test_text_and_hidden_files_are_no_images(tmp_path, name):
    (tmp_path / name).write_text("some words " * 30)
    assert not is_image(tmp_path / name)


def test_a_folder_and_an_absent_file_are_no_images(tmp_path):
    (tmp_path / "folder.png").mkdir()
    assert not is_image(tmp_path / "folder.png")
    assert not is_image(tmp_path / "absent.png")


def test_dicom_without_suffix_is_found(make_dicom, ramp, tmp_path):
    assert is_image(make_dicom(ramp, bits=12).rename(tmp_path / "IM0001"))


def test_unknown_and_absent_files_are_refused(tmp_path):
    (tmp_path / "notes").write_text("some words " * 30)
    with pytest.raises(UnreadableImageError, match="no known image format; expected one of dicom, png"):
        read_radiograph(tmp_path / "notes")
    with pytest.raises(UnreadableImageError, match="no such file"):
        read_radiograph(tmp_path / "absent.png")
    (tmp_path / "empty.nii").write_bytes(b"")
    with pytest.raises(UnreadableImageError, match="an empty file"):
        read_radiograph(tmp_path / "empty.nii")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p1/a.png", "p1/a.png"),
        ("p1/a.JPEG", "p1/a.png"),
        ("p1/a.nii.gz", "p1/a.nii.gz"),
        ("p1/IM0001", "p1/IM0001.dcm"),
        ("1.2.840.113", "1.2.840.113.dcm"),
        ("a.DCM", "a.DCM"),
    ],
)
def test_results_are_named_after_their_inputs(name, expected):
    assert output_name(Path(name)) == Path(expected)


def test_every_format_is_listed_once():
    names = [image_format.name for image_format in FORMATS]
    suffixes = [suffix for image_format in FORMATS for suffix in image_format.suffixes]
    assert len(set(names)) == len(names) == 6
    assert len(set(suffixes)) == len(suffixes)


def test_importing_the_package_loads_no_decoder():
    heavy = ["pydicom", "gdcm", "nibabel", "SimpleITK", "PIL", "torch", "monai", "scipy.ndimage"]
    code = f"import sys, medi2i.io; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


EXPECTED_SHAPES = {
    "RG1": (1955, 1841, 15),
    "RG2": (2140, 1760, 10),
    "RG3": (1760, 1760, 10),
    "XA1": (1024, 1024, 10),
}


def test_all_nema_samples_are_read_with_bone_bright(shared_data):
    paths = sorted((shared_data / "xray_dicom" / "nema_wg04").iterdir())
    assert len(paths) == 15
    for path in paths:
        radiograph = read_radiograph(path)
        assert (*radiograph.pixels.shape, radiograph.header.bits_stored) == EXPECTED_SHAPES[path.name[:3]]
        if path.name.startswith("RG1"):  # chest: mediastinum against the lung beside it
            assert radiograph.pixels[700:900, 880:960].mean() > radiograph.pixels[700:900, 450:600].mean()
        if path.name.startswith("RG2"):  # hip: femur against the air below
            assert (
                radiograph.pixels[1000:1100, 850:950].mean()
                > 300
                > radiograph.pixels[1900:2000, 700:800].mean()
            )
        if path.name.startswith("RG3"):  # leg: tibia against the air beside it
            assert (
                radiograph.pixels[300:500, 800:850].mean() > radiograph.pixels[300:500, 480:560].mean() + 50
            )


def test_all_other_real_radiographs_are_read(shared_data):
    shapes = {
        path.name[:4]: (*radiograph.pixels.shape, radiograph.header.bits_stored)
        for path in sorted((shared_data / "xray_dicom" / "misc_xray").iterdir())
        if (radiograph := read_radiograph(path))
    }
    assert shapes == {
        "1.2.": (1024, 1024, 8),
        "CR-M": (1576, 1976, 10),
        "OutO": (788, 1318, 12),
        "gdcm": (440, 440, 10),
    }


def test_odd_real_files_are_refused_by_name_or_read(shared_data):
    folder = shared_data / "xray_dicom" / "weird"
    read, refused = {}, {}
    for path in sorted(folder.iterdir()):
        try:
            read[path.name] = read_radiograph(path).pixels.shape
        except UnreadableImageError as error:
            refused[path.name] = error.found
    assert read == {"JLSL_16_15_1_1F.dcm": (128, 128), "image_dfl.dcm": (512, 512)}
    assert len(refused) == 25
    assert all(any(word in found for word in ("object", "format")) for found in refused.values())
    assert "Ion Plan" in refused["ExplVR_BigEndNoMeta.dcm"]
    assert "colour" in refused["SC_rgb_small_odd.dcm"]


def test_shared_drr_and_film_are_read(shared_data):
    drr = read_radiograph(shared_data / "drr_chest" / "images" / "drr_000.png")
    assert (drr.pixels.shape, drr.header.bits_stored) == ((256, 256), 16)
    assert np.isfinite(drr.pixels).all()
    film = next((shared_data / "xray_nih" / "images").glob("*.png"))
    assert read_radiograph(film).header.value_range == (0, 255)
