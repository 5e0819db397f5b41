import numpy as np
import pytest

from medi2i.image import (
    IntensityConfig,
    IntensityMap,
    Radiograph,
    RadiographHeader,
    fit_intensity,
    merge_intensity,
    to_full_scale,
)

FULL = IntensityConfig(lower_percentile=0, upper_percentile=100)


def make_header(bits=None, value_range=None) -> RadiographHeader:
    return RadiographHeader("png", 1, 5, bits_stored=bits, value_range=value_range)


def make_radiograph(pixels, bits=None, value_range=None, valid=None) -> Radiograph:
    pixels = np.atleast_2d(np.asarray(pixels, dtype=np.float32))
    valid = np.ones(pixels.shape, dtype=bool) if valid is None else np.atleast_2d(valid)
    return Radiograph(pixels, valid, make_header(bits, value_range))


@pytest.mark.parametrize("bits", [7, 8, 12, 15, 16])
def test_every_code_of_an_integer_image_comes_back(bits):
    top = 2**bits - 1
    codes = np.arange(top + 1, dtype=np.float32)[None]
    header = make_header(bits, (0.0, float(top)))
    mapping = IntensityMap(0.0, 1.0)
    stored = mapping.to_stored(mapping.to_network(codes, header), header)
    assert stored.dtype == (np.uint8 if bits <= 8 else np.uint16)
    np.testing.assert_array_equal(stored, codes)


def test_signed_values_come_back_as_codes_from_zero():
    header = make_header(16, (-32768.0, 32767.0))
    mapping = IntensityMap(0.0, 1.0)
    scaled = mapping.to_network(np.array([[-32768.0, 0.0, 32767.0]]), header)
    np.testing.assert_array_equal(mapping.to_stored(scaled, header), [[0, 32768, 65535]])


def test_floating_point_values_come_back():
    values = np.array([[-3.5, 0.0, 2.25, 7.0]], dtype=np.float32)
    mapping = fit_intensity(make_radiograph(values), FULL)
    assert mapping == IntensityMap(-3.5, 7.0)
    stored = mapping.to_stored(mapping.to_network(values, make_header()), make_header())
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, values, atol=1e-6)


def test_values_beyond_the_range_are_clipped_and_counted():
    mapping = IntensityMap(10.0, 20.0)
    pixels = np.array([[0.0, 10.0, 15.0, 20.0, 40.0]], dtype=np.float32)
    np.testing.assert_array_equal(mapping.to_network(pixels, make_header()), [[-1, -1, 0, 1, 1]])
    valid = np.array([[True, True, True, True, True]])
    assert mapping.clipped_fraction(pixels, valid, make_header()) == 0.4
    assert mapping.clipped_fraction(pixels, valid & (pixels > 0), make_header()) == 0.25
    assert mapping.clipped_fraction(pixels, np.zeros_like(valid), make_header()) == 0.0


def test_an_output_has_the_output_domains_range_at_the_inputs_bit_depth():
    # a film of 8 bit that uses a quarter to three quarters of its scale, for a DRR of 12 bit
    film = make_radiograph(np.linspace(63.75, 191.25, 101), 8, (0.0, 255.0))
    mapping = fit_intensity(film, FULL)
    assert (mapping.low, mapping.high) == pytest.approx((0.25, 0.75))
    stored = mapping.to_stored(np.array([[-1.0, 0.0, 1.0]]), make_header(12, (0.0, 4095.0)))
    np.testing.assert_array_equal(stored, [[1024, 2048, 3071]])  # 4095 / 4, / 2, * 3 / 4, rounded


def test_a_floating_point_domains_range_is_stretched_over_integer_codes():
    stored = IntensityMap(-3.0, 12.0).to_stored(np.array([[-1.0, 1.0]]), make_header(8, (0.0, 255.0)))
    np.testing.assert_array_equal(stored, [[0, 255]])


def test_codes_never_leave_their_bits():
    stored = IntensityMap(0.0, 1.0).to_stored(np.array([[-5.0, 5.0]]), make_header(12, (0.0, 4095.0)))
    np.testing.assert_array_equal(stored, [[0, 4095]])


def test_eight_and_sixteen_bit_images_of_one_look_agree():
    header8, header16 = make_header(8, (0.0, 255.0)), make_header(16, (0.0, 65535.0))
    np.testing.assert_allclose(
        to_full_scale(np.array([[51.0]]), header8), to_full_scale(np.array([[13107.0]]), header16)
    )


def test_the_range_is_robust_and_looks_at_valid_pixels_only():
    values = np.arange(1000.0)
    values[-1] = 1e6
    valid = np.arange(1000) >= 500
    mapping = fit_intensity(make_radiograph(values, valid=valid), IntensityConfig())
    # 0.5 and 99.5 per cent between 500 and (without the outlier) 999
    assert (mapping.low, mapping.high) == pytest.approx((502.495, 996.505))


@pytest.mark.parametrize(
    ("radiograph", "expected"),
    [
        (make_radiograph([0, 0], 8, (0.0, 255.0)), (0.0, 1.0)),
        (make_radiograph([200, 200], 8, (0.0, 255.0)), (0.0, 1.0)),
        (make_radiograph([7.5, 7.5]), (7.5, 8.5)),
        (make_radiograph([1.0, 3.0], valid=[False, False]), (1.0, 3.0)),
    ],
)
def test_constant_and_wholly_invalid_images_have_a_range(radiograph, expected):
    mapping = fit_intensity(radiograph, FULL)
    assert (mapping.low, mapping.high) == expected


def test_a_constant_image_comes_back():
    radiograph = make_radiograph([200, 200], 8, (0.0, 255.0))
    mapping = fit_intensity(radiograph, IntensityConfig())
    scaled = mapping.to_network(radiograph.pixels, radiograph.header)
    np.testing.assert_array_equal(mapping.to_stored(scaled, radiograph.header), [[200, 200]])


def test_the_whole_scale_is_minus_one_to_one_and_floating_point_images_have_none():
    config = IntensityConfig(fit="full")
    codes = np.array([[0.0, 64.0, 128.0, 200.0]], np.float32)
    integer = make_radiograph(codes, bits=8, value_range=(0.0, 255.0))
    mapping = fit_intensity(integer, config)
    assert (mapping.low, mapping.high) == (0.0, 1.0)
    np.testing.assert_allclose(mapping.to_network(codes, integer.header), codes / 127.5 - 1, atol=1e-6)
    floating = make_radiograph(codes, bits=None, value_range=None)
    assert fit_intensity(floating, config) == fit_intensity(floating, IntensityConfig())


def test_a_domains_range_is_the_median_of_its_images():
    maps = [IntensityMap(0.0, 1.0), IntensityMap(0.1, 0.5), IntensityMap(0.3, 0.6)]
    assert merge_intensity(maps) == IntensityMap(0.1, 0.6)


def test_a_map_survives_json():
    mapping = IntensityMap(0.125, 0.5)
    assert IntensityMap.from_dict(mapping.to_dict()) == mapping


def test_an_identity_is_not_shown_by_accident():
    radiograph = Radiograph(np.zeros((1, 1), np.float32), np.ones((1, 1), bool), make_header(), "token-7")
    assert "token-7" not in repr(radiograph)
