import numpy as np
import pytest

from medi2i.errors import UnreadableImageError
from medi2i.io import read_radiograph, write_radiograph


def test_a_leading_axis_of_one_is_dropped_on_reading_and_kept_on_writing(tmp_path, ramp):
    np.save(tmp_path / "a.npy", ramp[None])
    radiograph = read_radiograph(tmp_path / "a.npy")
    assert np.array_equal(radiograph.pixels, ramp)
    write_radiograph(tmp_path / "b.npy", ramp, header=radiograph.header, template=tmp_path / "a.npy")
    stored = np.load(tmp_path / "b.npy")
    assert stored.dtype == np.uint16
    assert np.array_equal(stored, ramp[None])


@pytest.mark.parametrize(
    ("array", "bits", "value_range"),
    [
        (np.ones((2, 3), np.uint8), 8, (0, 255)),
        (np.ones((2, 3), np.int16), 15, (0, 32767)),
        (np.array([[-1, 1], [0, 0]], np.int16), 16, (-32768, 32767)),
        (np.ones((2, 3), np.int32), 31, (0, 2**31 - 1)),
        (np.ones((2, 3), np.float16), None, None),
        (np.ones((2, 3), np.float64), None, None),
    ],
)
def test_the_dtype_decides_bits_and_range(tmp_path, array, bits, value_range):
    np.save(tmp_path / "a.npy", array)
    radiograph = read_radiograph(tmp_path / "a.npy")
    assert (radiograph.header.bits_stored, radiograph.header.value_range) == (bits, value_range)
    assert np.array_equal(radiograph.pixels, array)


def test_signed_and_floating_types_are_written_as_they_were(tmp_path):
    signed = np.array([[-5, 7], [0, 3]], np.int16)
    np.save(tmp_path / "a.npy", signed)
    header = read_radiograph(tmp_path / "a.npy").header
    codes = (signed.astype(np.int32) + 32768).astype(np.uint16)
    write_radiograph(tmp_path / "b.npy", codes, header=header, template=tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "b.npy"), signed)
    assert np.load(tmp_path / "b.npy").dtype == np.int16
    np.save(tmp_path / "f.npy", np.array([[0.5, 1], [2, 3]]))
    header = read_radiograph(tmp_path / "f.npy").header
    write_radiograph(
        tmp_path / "g.npy", np.full((2, 2), 0.25, np.float32), header=header, template=tmp_path / "f.npy"
    )
    assert np.load(tmp_path / "g.npy").dtype == np.float64


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((2, 3), bool), "type bool"),
        (np.ones((2, 3), complex), "type complex128"),
        (np.ones((2, 3), np.int64), "type int64"),
        (np.ones((2, 3, 4), np.uint8), r"shape \(2, 3, 4\)"),
        (np.ones(5, np.uint8), r"shape \(5,\)"),
        (np.array([[np.inf, 1], [np.nan, 0]]), "2 pixels that are NaN or infinite, of 4"),
        (np.array([[1e300, 1], [1, 0]]), "1 pixels that are NaN or infinite"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnreadableImageError, match=words):
        read_radiograph(tmp_path / "a.npy")


def test_objects_are_never_unpickled(tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("executed").touch, ())

    np.save(tmp_path / "a.npy", np.array([[Payload(), 1], [2, 3]], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableImageError, match=r"a\.npy"):
        read_radiograph(tmp_path / "a.npy")
    assert not (tmp_path / "executed").exists()


def test_a_cut_off_file_is_refused(tmp_path, ramp):
    np.save(tmp_path / "a.npy", ramp)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-10])
    with pytest.raises(UnreadableImageError, match="array that cannot be decoded"):
        read_radiograph(tmp_path / "a.npy")
