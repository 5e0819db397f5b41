import numpy as np
import pytest
import SimpleITK
from PIL import Image

from medi2i.errors import UnreadableImageError, UsageError
from medi2i.image import IntensityMap
from medi2i.io import guard, read_radiograph, write_radiograph

FULL = IntensityMap(low=0, high=1)


def write_tiff(path, array):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    return path


@pytest.mark.parametrize(
    ("suffix", "dtype", "bits", "value_range"),
    [
        (".png", np.uint8, 8, (0, 255)),
        (".png", np.uint16, 16, (0, 65535)),
        (".tif", np.uint8, 8, (0, 255)),
        (".tif", np.uint16, 16, (0, 65535)),
        (".tif", np.int16, 15, (0, 32767)),
        (".tif", np.uint32, 32, (0, 2**32 - 1)),
    ],
)
def test_grey_integers_keep_values_order_and_bit_depth(tmp_path, ramp, suffix, dtype, bits, value_range):
    array = ramp.astype(dtype)
    path = tmp_path / f"image{suffix}"
    if suffix == ".png":
        Image.fromarray(array).save(path)
    else:
        write_tiff(path, array)
    radiograph = read_radiograph(path)
    assert np.array_equal(radiograph.pixels, ramp)
    assert radiograph.pixels.dtype == np.float32
    assert (radiograph.header.bits_stored, radiograph.header.value_range) == (bits, value_range)
    assert (radiograph.header.spacing_mm, radiograph.header.spacing_origin) == (None, "unknown")

    codes = FULL.to_stored(FULL.to_network(radiograph.pixels, radiograph.header), radiograph.header)
    write_radiograph(tmp_path / f"out{suffix}", codes, header=radiograph.header, template=path)
    again = read_radiograph(tmp_path / f"out{suffix}")
    assert again.header == radiograph.header
    tolerance = 512 if bits == 32 else 1 if bits > 8 else 0  # float32 has 24 bits
    assert np.abs(again.pixels - radiograph.pixels).max() <= tolerance


def test_signed_tiff_with_negative_values_has_a_signed_range_and_round_trips(tmp_path, ramp):
    path = write_tiff(tmp_path / "signed.tif", ramp.astype(np.int16) - 10)
    radiograph = read_radiograph(path)
    assert radiograph.header.value_range == (-32768, 32767)
    assert radiograph.pixels[0, 0] == -10
    codes = (ramp.astype(np.int32) - 10 + 32768).astype(np.uint16)
    write_radiograph(tmp_path / "out.tif", codes, header=radiograph.header, template=path)
    assert np.array_equal(read_radiograph(tmp_path / "out.tif").pixels, radiograph.pixels)


def test_floating_point_tiff_round_trips(tmp_path, ramp):
    array = ramp.astype(np.float32) / 7
    Image.fromarray(array).save(tmp_path / "float.tif")
    radiograph = read_radiograph(tmp_path / "float.tif")
    assert radiograph.header.bits_stored is None
    write_radiograph(tmp_path / "out.tif", array, header=radiograph.header, template=tmp_path / "float.tif")
    assert np.array_equal(read_radiograph(tmp_path / "out.tif").pixels, array)


def test_nan_is_refused_with_its_count(tmp_path, ramp):
    array = ramp.astype(np.float32)
    array[0, :3] = np.nan
    Image.fromarray(array).save(tmp_path / "nan.tif")
    with pytest.raises(UnreadableImageError, match="3 pixels that are NaN or infinite, of 48"):
        read_radiograph(tmp_path / "nan.tif")


def test_tiff_with_white_zero_is_inverted_at_either_depth(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "white.tif", tiffinfo={262: 0})
    assert read_radiograph(tmp_path / "white.tif").pixels[0, 1] == 65534
    # libtiff's writer inverts 8-bit pixels itself, so that what is read equals what was saved
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "white8.tif", tiffinfo={262: 0})
    assert read_radiograph(tmp_path / "white8.tif").pixels[0, 1] == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_equal_colour_channels_are_grey_and_say_so(tmp_path, ramp, dtype):
    scale = 1000 if dtype == np.uint16 else 1
    channels = np.stack([(ramp * scale).astype(dtype)] * 3, axis=-1)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(channels, isVector=True), str(tmp_path / "rgb.png"))
    radiograph = read_radiograph(tmp_path / "rgb.png")
    assert np.array_equal(radiograph.pixels, ramp * scale)
    assert radiograph.header.notes == ("colour image with equal channels read as grey",)


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path, ramp):
    grey = Image.fromarray(ramp.astype(np.uint8))
    Image.merge("LA", [grey, Image.new("L", grey.size, 255)]).save(tmp_path / "opaque.png")
    assert np.array_equal(read_radiograph(tmp_path / "opaque.png").pixels, ramp)
    Image.merge("LA", [grey, Image.new("L", grey.size, 254)]).save(tmp_path / "clear.png")
    with pytest.raises(UnreadableImageError, match="transparent"):
        read_radiograph(tmp_path / "clear.png")


def test_grey_palettes_are_read_and_coloured_ones_refused(tmp_path, ramp):
    image = Image.fromarray(ramp.astype(np.uint8), mode=None).convert("P")
    image.putpalette([value for index in range(256) for value in (255 - index,) * 3])
    image.save(tmp_path / "grey.png")
    assert read_radiograph(tmp_path / "grey.png").pixels[0, 1] == 254
    image.putpalette([value for index in range(256) for value in (index, 0, 0)])
    image.save(tmp_path / "red.png")
    with pytest.raises(UnreadableImageError, match="red, green and blue differ"):
        read_radiograph(tmp_path / "red.png")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("colour.png", "red, green and blue"),
        ("one_bit.png", "one bit"),
        ("pages.tif", "2 images"),
        ("ink.jpg", "CMYK"),
    ],
)
def test_what_is_no_grey_image_is_refused_by_name(tmp_path, name, words):
    path = tmp_path / name
    match name:
        case "colour.png":
            Image.new("RGB", (8, 6), (1, 2, 3)).save(path)
        case "one_bit.png":
            Image.new("1", (8, 6)).save(path)
        case "pages.tif":
            Image.new("L", (8, 6)).save(path, save_all=True, append_images=[Image.new("L", (8, 6))])
        case "ink.jpg":
            Image.new("CMYK", (8, 6)).save(path)
    with pytest.raises(UnreadableImageError, match=words):
        read_radiograph(path)


def test_jpeg_is_read_and_written_as_png(tmp_path):
    Image.new("L", (8, 6), 77).save(tmp_path / "film.jpg")
    radiograph = read_radiograph(tmp_path / "film.jpg")
    assert (radiograph.header.format, radiograph.header.bits_stored) == ("jpeg", 8)
    codes = radiograph.pixels.astype(np.uint8)
    write_radiograph(tmp_path / "film.png", codes, header=radiograph.header, template=tmp_path / "film.jpg")
    again = read_radiograph(tmp_path / "film.png")
    assert again.header.format == "png"
    assert (again.pixels == 77).all()


def test_a_huge_declared_matrix_is_refused_before_decoding(tmp_path, monkeypatch):
    Image.new("L", (300, 300)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(guard, "MAX_PIXELS", 300 * 300 - 1)
    with pytest.raises(UnreadableImageError, match="300 x 300"):
        read_radiograph(tmp_path / "bomb.png")


def test_every_truncation_of_a_png_is_an_error_or_the_same_image(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    path = tmp_path / "cut.png"
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        try:
            assert np.array_equal(read_radiograph(path).pixels, ramp)
        except UnreadableImageError as error:
            assert "cut.png" in str(error)


def test_pixels_of_another_matrix_are_not_written(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "a.png")
    header = read_radiograph(tmp_path / "a.png").header
    with pytest.raises(UsageError, match=r"\(8, 6\).*\(6, 8\)"):
        write_radiograph(tmp_path / "b.png", ramp.T, header=header, template=tmp_path / "a.png")
    assert not (tmp_path / "b.png").exists()
