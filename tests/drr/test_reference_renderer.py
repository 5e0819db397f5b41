"""An independent renderer, plastimatch (exact ray tracing in C++), agrees on a real CT."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from medi2i.drr.attenuation import AttenuationConfig, hu_to_attenuation
from medi2i.drr.geometry import ConeBeamGeometry, make_camera
from medi2i.drr.projection import prepare_patient, project_view
from medi2i.io.ct import read_ct
from medi2i.volume import Volume

GEOMETRY = ConeBeamGeometry(
    rows=192,  # square: plastimatch's programs do not agree on the order of rows and columns
    columns=192,
    detector_spacing_mm=(2.6, 2.6),
    source_to_detector_mm=1800.0,
    source_to_isocenter_mm=1500.0,
)


def render_with_plastimatch(volume: Volume, folder: Path) -> np.ndarray:
    """PA line integral by plastimatch; it works in LPS, and sees the image as the source does."""
    import SimpleITK

    attenuation = hu_to_attenuation(volume.hounsfield, AttenuationConfig())
    assert np.allclose(volume.affine[:3, :3], np.diag(volume.spacing_mm)), "the CT must be axis-aligned"
    # RAS to LPS: both first axes turned, so the last voxel becomes the origin
    last = volume.affine[:3, 3] + np.array(volume.spacing_mm) * (np.array(attenuation.shape) - 1)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(attenuation[::-1, ::-1].transpose(2, 1, 0)))
    image.SetSpacing([float(side) for side in volume.spacing_mm])
    image.SetOrigin([-float(last[0]), -float(last[1]), float(volume.affine[2, 3])])
    SimpleITK.WriteImage(image, str(folder / "attenuation.mha"))
    isocenter = volume.center_mm * [-1, -1, 1]
    sides = [
        GEOMETRY.rows * GEOMETRY.detector_spacing_mm[0],
        GEOMETRY.columns * GEOMETRY.detector_spacing_mm[1],
    ]
    options = {
        "--nrm": "0 1 0",  # from the detector in front of the patient to the source behind
        "--sad": str(GEOMETRY.source_to_isocenter_mm),
        "--sid": str(GEOMETRY.source_to_detector_mm),
        "-r": f"{GEOMETRY.rows} {GEOMETRY.columns}",
        "-z": f"{sides[0]} {sides[1]}",
        "-o": " ".join(str(value) for value in isocenter),
        "-O": str(folder / "drr"),
        "-t": "pfm",
        "-P": "none",
        "-i": "exact",
    }
    arguments = [part for pair in options.items() for part in pair]
    command = ["plastimatch", "drr", *arguments, str(folder / "attenuation.mha")]
    subprocess.run(command, check=True, capture_output=True)
    with (folder / "drr0000.pfm").open("rb") as stream:
        kind, size, order = (stream.readline().split() for _ in range(3))
        assert kind == [b"Pf"] and float(order[0]) < 0
        columns, rows = (int(side) for side in size)
        return np.frombuffer(stream.read(), "<f4").reshape(rows, columns)[:, ::-1]


def best_shift(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Whole-pixel shift by phase correlation."""
    spectrum = np.fft.fft2(one - one.mean()) * np.conj(np.fft.fft2(other - other.mean()))
    response = np.fft.ifft2(spectrum / np.maximum(np.abs(spectrum), 1e-12)).real
    peak = np.unravel_index(response.argmax(), response.shape)
    row, column = (
        (place + size // 2) % size - size // 2 for place, size in zip(peak, one.shape, strict=True)
    )
    return int(row), int(column)


@pytest.mark.skipif(shutil.which("plastimatch") is None, reason="plastimatch is not installed")
def test_plastimatch_sees_the_same_ct(shared_data, tmp_path):
    volume = read_ct(shared_data / "ct_abdomen_pelvis" / "example_ct.nii.gz")
    camera = make_camera(GEOMETRY, "PA", isocenter_mm=volume.center_mm)
    ours = project_view(prepare_patient(volume), camera).line_integral
    reference = render_with_plastimatch(volume, tmp_path)
    agreement = {
        name: np.corrcoef(turned.ravel(), ours.ravel())[0, 1]
        for name, turned in (
            ("as it is", reference),
            ("left-right", reference[:, ::-1]),
            ("up-down", reference[::-1]),
        )
    }
    assert agreement.pop("as it is") >= 0.999
    assert max(agreement.values()) < 0.98  # so a flip would be seen
    assert best_shift(ours, reference) == (0, 0)
    # plastimatch integrates in cm
    scale = (ours * reference).sum() / (reference**2).sum()
    assert scale == pytest.approx(10.0, rel=0.01)
