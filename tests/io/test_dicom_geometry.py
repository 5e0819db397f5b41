import numpy as np
import pytest

from medi2i.io import read_radiograph

RT_IMAGE = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.1", "Modality": "RTIMAGE"}


@pytest.mark.parametrize(
    ("attributes", "spacing_mm", "origin"),
    [
        ({}, None, "unknown"),
        ({"PixelSpacing": [0.2, 0.3]}, (0.2, 0.3), "PixelSpacing"),
        ({"ImagerPixelSpacing": [0.1, 0.15]}, (0.1, 0.15), "ImagerPixelSpacing"),
        ({"ImagerPixelSpacing": [0.1, 0.15], "PixelSpacing": [0.2, 0.3]}, (0.1, 0.15), "ImagerPixelSpacing"),
        (
            {
                "ImagerPixelSpacing": [0.1, 0.15],
                "PixelSpacing": [0.2, 0.3],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            (0.2, 0.3),
            "PixelSpacing calibrated",
        ),
        ({"PixelSpacing": [0, 0]}, None, "unknown"),
        ({"PixelSpacing": [-0.2, 0.2]}, None, "unknown"),
        ({"ImagerPixelSpacing": [0, 0], "PixelSpacing": [0.2, 0.3]}, (0.2, 0.3), "PixelSpacing"),
        ({**RT_IMAGE, "ImagePlanePixelSpacing": [0.4, 0.5]}, (0.4, 0.5), "ImagePlanePixelSpacing"),
    ],
)
def test_spacing_and_its_origin(make_dicom, ramp, attributes, spacing_mm, origin):
    header = read_radiograph(make_dicom(ramp, bits=12, **attributes)).header
    assert (header.spacing_mm, header.spacing_origin) == (spacing_mm, origin)
    impossible = any(min(values) <= 0 for values in attributes.values() if isinstance(values, list))
    assert any("impossible" in note for note in header.notes) == impossible


def test_an_rt_image_is_scaled_to_the_isocentre_only_on_request(make_dicom, ramp):
    path = make_dicom(
        ramp,
        bits=12,
        **RT_IMAGE,
        ImagePlanePixelSpacing=[0.6, 0.3],
        RadiationMachineSAD=1000,
        RTImageSID=1500,
    )
    assert read_radiograph(path).header.spacing_mm == (0.6, 0.3)
    header = read_radiograph(path, isocenter=True).header
    assert header.spacing_mm == pytest.approx((0.4, 0.2))
    assert "0.6667" in header.notes[-1]


def test_an_isocentre_that_the_file_does_not_know_is_noted(make_dicom, ramp):
    header = read_radiograph(make_dicom(ramp, bits=12, PixelSpacing=[1, 1]), isocenter=True).header
    assert header.spacing_mm == (1, 1)
    assert "lacks what is needed" in header.notes[0]


def test_estimated_magnification_is_noted_and_not_applied(make_dicom, ramp):
    path = make_dicom(
        ramp, bits=12, ImagerPixelSpacing=[0.1, 0.1], EstimatedRadiographicMagnificationFactor=1.1
    )
    header = read_radiograph(path).header
    assert header.spacing_mm == (0.1, 0.1)
    assert "magnification 1.1" in header.notes[0]


def test_padding_is_invalid_by_its_stored_value_even_in_monochrome1(make_dicom, ramp):
    path = make_dicom(ramp, bits=12, photometric="MONOCHROME1", PixelPaddingValue=9)
    assert np.argwhere(~read_radiograph(path).valid).tolist() == [[1, 1]]
    path = make_dicom(ramp, bits=12, PixelPaddingValue=12, PixelPaddingRangeLimit=10, RescaleSlope=2)
    assert np.argwhere(~read_radiograph(path).valid).tolist() == [[1, 2], [1, 3], [1, 4]]


def test_a_rectangular_shutter_counts_from_one_and_keeps_its_edges(make_dicom, ramp):
    path = make_dicom(
        ramp,
        bits=12,
        ShutterShape="RECTANGULAR",
        ShutterLeftVerticalEdge=3,
        ShutterRightVerticalEdge=6,
        ShutterUpperHorizontalEdge=2,
        ShutterLowerHorizontalEdge=4,
    )
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:4, 2:6] = True
    assert np.array_equal(read_radiograph(path).valid, expected)


def test_a_circular_shutter_is_a_disc(make_dicom):
    pixels = np.arange(21 * 21, dtype=np.uint16).reshape(21, 21)
    path = make_dicom(
        pixels, bits=12, ShutterShape="CIRCULAR", CenterOfCircularShutter=[11, 11], RadiusOfCircularShutter=5
    )
    row, column = np.indices(pixels.shape)
    assert np.array_equal(read_radiograph(path).valid, (row - 10) ** 2 + (column - 10) ** 2 <= 25)


def test_a_polygonal_shutter_is_its_inside(make_dicom):
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    path = make_dicom(
        pixels,
        bits=12,
        ShutterShape="POLYGONAL",
        VerticesOfThePolygonalShutter=[3, 3, 3, 18, 18, 18, 18, 3],
    )
    expected = np.zeros((20, 20), dtype=bool)
    expected[2:18, 2:18] = True
    assert np.array_equal(read_radiograph(path).valid, expected)


def test_a_shutter_that_leaves_nothing_is_ignored_and_noted(make_dicom, ramp):
    path = make_dicom(
        ramp, bits=12, ShutterShape="CIRCULAR", CenterOfCircularShutter=[900, 900], RadiusOfCircularShutter=5
    )
    radiograph = read_radiograph(path)
    assert radiograph.valid.all()
    assert radiograph.header.notes == ("the shutter leaves no image; ignored",)


def test_a_collimator_edge_is_found_although_padding_is_more_extreme(make_dicom):
    pixels = np.random.default_rng(0).integers(500, 900, (60, 60)).astype(np.uint16)
    pixels[:, :10] = 100  # collimated
    pixels[30, 30] = 0  # padding
    valid = read_radiograph(make_dicom(pixels, bits=12, PixelPaddingValue=0)).valid
    assert (~valid[:, :10]).all()
    assert (~valid).sum() == 601
