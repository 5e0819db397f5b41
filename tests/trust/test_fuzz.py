"""The quick edition of `scripts/trust/fuzz`: damaged and lying files are read, or refused in one line."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames

from medi2i.errors import UnreadableImageError
from medi2i.io.decoder_pool import DecoderPool
from tests.trust.mutants import BUILT, Seeds, make_mutant, write_seeds

DATA = Path(os.environ.get("MEDI2I_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> Seeds:
    """Real files where they are there; made ones always."""
    folders = [DATA / "xray_dicom", DATA / "xray_nih" / "images"]
    return Seeds(folders, tmp_path_factory.mktemp("seeds"), most_bytes=200_000)


@pytest.fixture(scope="module")
def pool():
    pool = DecoderPool(seconds=10)
    yield pool
    pool.allow(0)


def test_the_seeds_themselves_are_read(seeds, pool):
    made = seeds.paths[-9:]
    assert [path.name for path in made[-3:]] == ["explicit.dcm", "implicit.dcm", "rle.dcm"]
    for path in made:
        assert pool.read_radiograph(path)[0].pixels.shape == (48, 40)


def test_mutants_are_read_or_refused_in_one_line(seeds, pool, tmp_path):
    outcomes = Counter()
    for number in range(250):
        suffix, content = make_mutant(seeds, 2, number)
        path = tmp_path / f"mutant{suffix}"
        path.write_bytes(content)
        try:
            radiograph, _ = pool.read_radiograph(path, acquisition=True)
        except UnreadableImageError as error:
            assert path.name in str(error)
            assert "\n" not in str(error)
            assert "ended the process" not in error.found
            assert "did not end" not in error.found
            outcomes["refused"] += 1
        else:
            assert np.isfinite(radiograph.pixels).all()
            outcomes["read"] += 1
        path.unlink()
    assert outcomes["read"] > 10
    assert outcomes["refused"] > 100
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("build", dict.fromkeys(BUILT), ids=lambda build: build.__name__)
def test_files_made_to_harm_are_refused(build, pool, tmp_path):
    for number in range(2):
        suffix, content = build(np.random.default_rng(number))
        path = tmp_path / f"harm{suffix}"
        path.write_bytes(content)
        with pytest.raises(UnreadableImageError) as caught:
            pool.read_radiograph(path)
        assert "ended the process" not in caught.value.found
    assert not (tmp_path.parent / "outside.txt").exists()


def test_a_panic_of_a_decoder_in_rust_is_a_refusal(tmp_path, pool):
    """Codes that run over the end of their plane make pylibjpeg-rle panic: no Exception of Python's."""
    path = write_seeds(tmp_path)[-1]
    dataset, rng, said = dcmread(path), np.random.default_rng(3), []
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    for _ in range(60):
        codes = bytearray(frame)
        codes[int(rng.integers(64, len(codes)))] ^= 0x40
        dataset.PixelData = encapsulate([bytes(codes)])
        dataset.save_as(path)
        try:
            pool.read_radiograph(path)
        except UnreadableImageError as error:
            said.append(error.found)
    assert any("PanicException" in found for found in said)
    assert not any("ended the process" in found for found in said)
