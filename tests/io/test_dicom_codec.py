import struct

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit, JPEGLSLossless, RLELossless

from medi2i.errors import UnreadableImageError
from medi2i.io import read_radiograph
from medi2i.io.dicom_codec import Codestream, parse_codestream


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_lossless_codecs_give_the_stored_values(make_dicom, syntax, photometric):
    pixels = np.random.default_rng(0).integers(0, 4096, (96, 64)).astype(np.uint16)
    path = make_dicom(pixels, bits=12, photometric=photometric)
    dataset = dcmread(path)
    dataset.compress(syntax)
    dataset.save_as(path)
    expected = pixels if photometric == "MONOCHROME2" else 4095 - pixels
    assert np.array_equal(read_radiograph(path).pixels, expected)


def test_frame_headers_are_parsed():
    jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc1" + struct.pack(">HBHHB", 11, 12, 300, 200, 1)
    assert parse_codestream(jpeg) == Codestream(rows=300, columns=200, precision=12)
    jpeg_ls = b"\xff\xd8\xff\xf7" + struct.pack(">HBHHB", 11, 16, 5, 6, 1)
    assert parse_codestream(jpeg_ls) == Codestream(5, 6, 16)
    size = struct.pack(">HH8IHBBB", 41, 0, 70, 50, 10, 20, 70, 50, 0, 0, 1, 0x0B, 1, 1)
    assert parse_codestream(b"\xff\x4f\xff\x51" + size) == Codestream(30, 60, 12)
    assert parse_codestream(b"\x01\x00\x00\x00" * 20) is None
    assert parse_codestream(b"\xff\xd8\xff") is None


def test_a_codestream_of_another_size_is_refused_before_decoding(make_dicom, ramp):
    path = make_dicom(ramp, bits=12)
    dataset = dcmread(path)
    bomb = b"\xff\xd8\xff\xc1" + struct.pack(">HBHHB", 11, 12, 65535, 65535, 1) + bytes(40)
    dataset.PixelData = encapsulate([bomb])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    dataset.save_as(path)
    with pytest.raises(
        UnreadableImageError, match="compressed image of 65535 x 65535; expected the header's 6 x 8"
    ):
        read_radiograph(path)


def test_damage_that_only_the_decoder_sees_is_noted_and_not_printed(shared_data, tmp_path, capfd):
    content = bytearray((shared_data / "xray_dicom" / "nema_wg04" / "XA1_JPLL").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    (tmp_path / "damaged").write_bytes(content)
    notes = read_radiograph(tmp_path / "damaged").header.notes
    assert any("damaged" in note for note in notes)
    assert "".join(capfd.readouterr()) == ""


def test_a_syntax_without_decoder_is_named(make_dicom, ramp):
    path = make_dicom(ramp, bits=12)
    dataset = dcmread(path)
    dataset.PixelData = encapsulate([b"\x00\x00\x00\x01" * 8])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    dataset.save_as(path)
    with pytest.raises(UnreadableImageError, match="MPEG-4"):
        read_radiograph(path)


def test_twelve_bit_jpeg_agrees_with_jpeg_2000_of_the_same_film(shared_data, capfd):
    folder = shared_data / "xray_dicom" / "nema_wg04"
    for name in ("RG2", "RG3", "XA1"):  # RG3 is MONOCHROME1
        jpeg, jpeg_2000 = read_radiograph(folder / f"{name}_JPLY"), read_radiograph(folder / f"{name}_J2KI")
        difference = np.abs(jpeg.pixels - jpeg_2000.pixels)
        assert np.median(difference) <= 3  # of 1023
        assert difference.max() < 200  # no overshoot wrapped around to the other end
        assert jpeg.header.value_range == (0, 1023)
    assert "".join(capfd.readouterr()) == ""


def test_lossless_and_lossy_versions_of_one_film_agree(shared_data):
    folder = shared_data / "xray_dicom" / "nema_wg04"
    reference = read_radiograph(folder / "RG3_J2KR").pixels
    assert np.array_equal(read_radiograph(folder / "RG3_JLSL").pixels, reference)
    assert np.abs(read_radiograph(folder / "RG3_JLSN").pixels - reference).max() <= 10
