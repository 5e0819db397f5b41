import logging
import struct
import sys
import zlib

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from medi2i.errors import EnvironmentProblemError, UnreadableImageError
from medi2i.io import dicom_file, guard, read_radiograph
from medi2i.io.dicom import accepts


def without_preamble(path, *, implicit, little_endian):
    dataset = Dataset()
    dataset.update(dcmread(path))
    if not little_endian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.save_as(path, implicit_vr=implicit, little_endian=little_endian)
    return path


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_native_encodings_are_read(make_dicom, ramp, syntax):
    assert np.array_equal(read_radiograph(make_dicom(ramp, bits=12, syntax=syntax)).pixels, ramp)


@pytest.mark.parametrize(("implicit", "little_endian"), [(True, True), (False, True), (False, False)])
def test_files_without_preamble_are_recognised_and_read(make_dicom, ramp, implicit, little_endian):
    path = without_preamble(make_dicom(ramp, bits=12), implicit=implicit, little_endian=little_endian)
    assert path.read_bytes()[128:132] != b"DICM"
    assert accepts(path)
    assert np.array_equal(read_radiograph(path).pixels, ramp)


def test_big_endian_files_are_read(make_dicom, ramp):
    path = make_dicom(ramp, bits=12)
    dataset = Dataset()
    dataset.update(dcmread(path))
    dataset.file_meta = dcmread(path).file_meta
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    assert np.array_equal(read_radiograph(path).pixels, ramp)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"plain text that goes on " * 20, bytes(500), b"\x1f\x8b" * 99]
)
def test_other_content_is_not_taken_for_dicom(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert not accepts(tmp_path / "file")


def test_a_cut_off_file_names_both_lengths(make_dicom, ramp):
    path = make_dicom(ramp, bits=12)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(
        UnreadableImageError, match="76 bytes of pixel data; expected the 96 that the file declares"
    ):
        read_radiograph(path)


def test_rows_beyond_the_pixel_data_are_refused(make_dicom, ramp):
    with pytest.raises(UnreadableImageError, match="96 bytes of pixel data; expected 112 for 7 x 8"):
        read_radiograph(make_dicom(ramp, bits=12, Rows=7))


def test_an_absurd_matrix_is_refused_before_memory_is_taken(make_dicom, ramp):
    with pytest.raises(UnreadableImageError, match="65535 x 65535"):
        read_radiograph(make_dicom(ramp, bits=12, Rows=65535, Columns=65535))


def test_a_length_beyond_the_file_takes_no_memory(make_dicom, ramp):
    path = make_dicom(ramp, bits=12)
    content = bytearray(path.read_bytes())
    position = content.rindex(struct.pack("<HH", 0x7FE0, 0x0010)) + 8
    content[position : position + 4] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match="4,294,967,280 that the file declares"):
        read_radiograph(path)


def test_a_deflate_bomb_is_stopped(make_dicom, ramp, monkeypatch):
    path = make_dicom(ramp, bits=12, syntax=DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    start = 144 + struct.unpack("<I", content[140:144])[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(content[:start] + packer.compress(bytes(40_000_000)) + packer.flush())
    monkeypatch.setattr(dicom_file, "MAX_FILE_BYTES", 1 << 20)
    with pytest.raises(UnreadableImageError, match="deflated data"):
        read_radiograph(path)


def test_a_file_beyond_the_limit_is_refused_unread(make_dicom, ramp, monkeypatch):
    monkeypatch.setattr(guard, "MAX_FILE_BYTES", 100)
    with pytest.raises(UnreadableImageError, match="at most 100 bytes"):
        read_radiograph(make_dicom(ramp, bits=12))


def test_a_high_bit_out_of_place_is_refused(make_dicom, ramp):
    with pytest.raises(UnreadableImageError, match="HighBit 15 with BitsStored 12"):
        read_radiograph(make_dicom(ramp, bits=12, HighBit=15))


def test_broken_header_values_become_notes_without_their_words(make_dicom, ramp, caplog, capfd):
    path = make_dicom(ramp, bits=12)
    content = path.read_bytes().replace(
        b"1.2.826.0.1", b"token.na.me"
    )  # pydicom's UID root, in study and series
    path.write_bytes(content.replace(b"token-id", b"token\\id"))
    with caplog.at_level(logging.DEBUG, logger="pydicom"):
        radiograph = read_radiograph(path)
    assert "token" not in repr(radiograph.header) + caplog.text + "".join(capfd.readouterr())


def test_errors_repeat_no_header_value(make_dicom, ramp):
    path = make_dicom(ramp, bits=12, WindowCenter=1)
    content = path.read_bytes()
    position = content.index(struct.pack("<HH", 0x0028, 0x0010))  # Rows as text instead of a number
    path.write_bytes(
        content[:position]
        + struct.pack("<HH2sH", 0x0028, 0x0010, b"PN", 6)
        + b"token^"
        + content[position + 10 :]
    )
    with pytest.raises(UnreadableImageError) as caught:
        read_radiograph(path)
    assert "token" not in str(caught.value)


def test_mutated_files_are_read_or_refused_and_nothing_else(make_dicom, ramp):
    path = make_dicom(ramp, bits=12, photometric="MONOCHROME1", PixelSpacing=[0.1, 0.1], PixelPaddingValue=3)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for position in rng.integers(132, len(whole), rng.integers(1, 5)):
            content[position] = rng.integers(256)
        path.write_bytes(
            content[: rng.integers(len(whole) // 2, len(whole) + 1)] if rng.random() < 0.3 else content
        )
        try:
            radiograph = read_radiograph(path)
        except UnreadableImageError:
            refused += 1
        else:
            assert np.isfinite(radiograph.pixels).all()
            assert radiograph.valid.shape == radiograph.pixels.shape
    assert 50 < refused < 400


def test_a_folder_named_dl_is_explained(tmp_path, monkeypatch, make_dicom, ramp):
    path = make_dicom(ramp, bits=12)
    (tmp_path / "dl").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gdcm", raising=False)
    with pytest.raises(EnvironmentProblemError, match=r"'dl'.*rename it"):
        read_radiograph(path)
