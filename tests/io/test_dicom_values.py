import numpy as np
import pytest
from pydicom.dataset import Dataset

from medi2i.errors import UnreadableImageError
from medi2i.io import read_radiograph


def lut(first: int, entries: list[int], bits: int = 16) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "OW", np.array(entries, "<u2").tobytes())
    return item


def read(path, **options):
    return read_radiograph(path, **options)


def test_monochrome2_values_pass_unchanged(make_dicom, ramp):
    radiograph = read(make_dicom(ramp, bits=12))
    assert np.array_equal(radiograph.pixels, ramp)
    assert radiograph.header.value_range == (0, 4095)
    assert radiograph.header.bits_stored == 12
    assert (radiograph.header.rows, radiograph.header.columns) == (6, 8)


def test_monochrome1_is_flipped_within_the_stored_bits(make_dicom, ramp):
    radiograph = read(make_dicom(ramp, bits=12, photometric="MONOCHROME1"))
    assert np.array_equal(radiograph.pixels, 4095 - ramp.astype(float))
    assert radiograph.header.value_range == (0, 4095)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_inverse_presentation_flips_once_not_twice(make_dicom, ramp, photometric):
    path = make_dicom(ramp, bits=12, photometric=photometric, PresentationLUTShape="INVERSE")
    assert read(path).pixels[0, 1] == 4094


def test_signed_values_have_a_signed_range(make_dicom, ramp):
    signed = ramp.astype(np.int16) - 10
    radiograph = read(make_dicom(signed, bits=10, photometric="MONOCHROME1"))
    assert radiograph.header.value_range == (-512, 511)
    assert np.array_equal(radiograph.pixels, -1.0 - signed)  # -512 + 511 - value


def test_rescale_comes_before_polarity(make_dicom, ramp):
    path = make_dicom(
        ramp.astype(np.uint8),
        photometric="MONOCHROME1",
        RescaleSlope=2,
        RescaleIntercept=-10,
        RescaleType="US",
    )
    radiograph = read(path)
    assert radiograph.header.value_range == (-10, 500)  # 2 * 0 - 10, 2 * 255 - 10
    assert radiograph.pixels[0, 5] == 490  # -10 + 500 - (2 * 5 - 10)


def test_a_negative_slope_keeps_the_range_in_order(make_dicom, ramp):
    radiograph = read(make_dicom(ramp.astype(np.uint8), RescaleSlope=-1, RescaleIntercept=255))
    assert radiograph.header.value_range == (0, 255)
    assert radiograph.pixels[0, 5] == 250


def test_an_impossible_slope_is_ignored_and_noted(make_dicom, ramp):
    radiograph = read(make_dicom(ramp, bits=12, RescaleSlope=0, RescaleIntercept=3))
    assert np.array_equal(radiograph.pixels, ramp)
    assert any("slope" in note for note in radiograph.header.notes)


def test_a_modality_lut_wins_over_rescale_and_its_entries_give_the_range(make_dicom, ramp):
    # 4 bits reach entries 0..15; first mapped value 2: 0..2 give entry 0, 13..15 entry 11
    entries = [100 + 10 * index for index in range(12)]
    codes = np.clip(ramp, 0, 15)
    radiograph = read(make_dicom(codes, bits=4, RescaleSlope=7, ModalityLUTSequence=[lut(2, entries)]))
    assert radiograph.pixels[0, :5].tolist() == [100, 100, 100, 110, 120]
    assert radiograph.pixels[-1, -1] == 210
    assert radiograph.header.value_range == (100, 210)
    flipped = read(
        make_dicom(
            codes, bits=4, photometric="MONOCHROME1", ModalityLUTSequence=[lut(2, entries)], name="b.dcm"
        )
    )
    assert flipped.pixels[0, 4] == 190  # 100 + 210 - 120


def test_a_lut_shorter_than_it_declares_is_refused(make_dicom, ramp):
    item = lut(0, [1, 2, 3, 4])
    item.LUTDescriptor = [9, 0, 16]
    with pytest.raises(UnreadableImageError, match="a LUT of 4 entries; expected the 9"):
        read(make_dicom(ramp, bits=12, ModalityLUTSequence=[item]))


def test_the_window_is_off_by_default_and_linear_on_request(make_dicom, ramp):
    path = make_dicom(ramp.astype(np.uint8), WindowCenter=20.5, WindowWidth=21)
    assert np.array_equal(read(path).pixels, ramp)
    windowed = read(path, apply_voi=True).pixels.ravel()
    # PS3.3 C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5) * 255, c - 0.5 = 20, w - 1 = 20
    assert windowed[[0, 10, 15, 20, 30, 47]].tolist() == [0, 0, 63.75, 127.5, 255, 255]


def test_the_window_comes_before_polarity(make_dicom, ramp):
    path = make_dicom(ramp.astype(np.uint8), photometric="MONOCHROME1", WindowCenter=20.5, WindowWidth=21)
    windowed = read(path, apply_voi=True).pixels.ravel()
    assert windowed[[0, 15, 47]].tolist() == [255, 191.25, 0]


def test_the_window_applies_to_rescaled_values(make_dicom, ramp):
    path = make_dicom(
        ramp.astype(np.uint8), RescaleSlope=2, RescaleIntercept=0, WindowCenter=40.5, WindowWidth=41
    )
    windowed = read(path, apply_voi=True).pixels.ravel()
    assert windowed[[10, 20, 30]].tolist() == [0, 255, 510]  # range 0 .. 510


def test_exact_and_sigmoid_windows_follow_their_formulas(make_dicom, ramp):
    codes = ramp.astype(np.uint8)
    exact = make_dicom(codes, WindowCenter=20, WindowWidth=20, VOILUTFunction="LINEAR_EXACT", name="e.dcm")
    assert read(exact, apply_voi=True).pixels.ravel()[[10, 20, 25, 30]].tolist() == [0, 127.5, 191.25, 255]
    sigmoid = make_dicom(codes, WindowCenter=20, WindowWidth=20, VOILUTFunction="SIGMOID", name="s.dcm")
    values = read(sigmoid, apply_voi=True).pixels.ravel()
    assert values[[20, 25]] == pytest.approx([127.5, 255 / (1 + np.exp(-1))])


def test_a_voi_lut_is_applied_after_the_modality_lut(make_dicom, ramp):
    path = make_dicom(
        np.clip(ramp, 0, 3).astype(np.uint8),
        bits=2,
        RescaleSlope=1,
        RescaleIntercept=10,
        VOILUTSequence=[lut(10, [0, 5, 50, 500])],
    )
    assert read(path, apply_voi=True).pixels[0, :4].tolist() == [0, 5, 50, 500]
    assert read(path, apply_voi=True).header.value_range == (0, 500)


def test_a_file_without_window_says_so_on_request(make_dicom, ramp):
    radiograph = read(make_dicom(ramp, bits=12), apply_voi=True)
    assert radiograph.header.notes == ("no VOI LUT or window in the file",)
