"""Damaged and lying image files, each from (seed, number) alone.

A real file is mutated in one to four places: bits, bytes, lengths, cuts, copies, pieces of other files. DICOM
elements are also changed by name. Every tenth file is built: bombs, headers that promise more than there is,
nests, cycles.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

_BUILT_EVERY = 10
_LENGTHS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
_SUFFIXES = (".dcm", ".png", ".tif", ".jpg", ".nii", ".nii.gz", ".npy", "")


class Seeds:
    """Real files, and small ones made of each format that they lack.

    Args:
        folders: of real images; absent ones count for nothing.
        made: folder for those that are made.
        most_bytes: larger files are left out, to be quick.
    """

    def __init__(self, folders: Sequence[Path], made: Path, *, most_bytes: int = 600_000) -> None:
        real = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        real = [path for path in real if path.suffix not in (".txt", ".json", ".csv", ".md")]
        self.paths = [path for path in real if path.stat().st_size <= most_bytes] + write_seeds(made)
        self._contents: dict[Path, bytes] = {}
        self._by_suffix: dict[str, list[Path]] = {}
        for path in self.paths:
            suffix = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
            # DICOM has many forms, each with a decoder of its own
            self._by_suffix.setdefault(suffix if suffix in _SUFFIXES[1:-1] else ".dcm", []).append(path)

    def draw(self, rng: np.random.Generator) -> tuple[str, bytes]:
        """Suffix and content of a seed: every other one DICOM, of the other formats each as often."""
        others = sorted(self._by_suffix.keys() - {".dcm"})
        suffix = ".dcm" if rng.random() < 0.5 else others[int(rng.integers(len(others)))]
        path = self._by_suffix[suffix][int(rng.integers(len(self._by_suffix[suffix])))]
        if path not in self._contents:
            self._contents[path] = path.read_bytes()
        return suffix, self._contents[path]


def make_mutant(seeds: Seeds, seed: int, number: int) -> tuple[str, bytes]:
    """Suffix and content of mutant `number`."""
    rng = np.random.default_rng([seed, number])
    if number % _BUILT_EVERY == 0:
        build = BUILT[number // _BUILT_EVERY % len(BUILT)]
        return build(rng)
    suffix, content = seeds.draw(rng)
    if suffix == ".dcm" and rng.random() < 0.5:
        content = _change_elements(content, rng)
    if suffix == ".nii.gz" and rng.random() < 0.5:  # inside the compression
        content = gzip.compress(_mutate(gzip.decompress(content), seeds, rng), 1)
    elif suffix != ".dcm" or rng.random() < 0.7:
        content = _mutate(content, seeds, rng)
    if suffix == ".png" and rng.random() < 0.8:
        content = _mend_checksums(content)
    if rng.random() < 0.05:
        suffix = str(rng.choice(_SUFFIXES))
    return suffix, content


def _mutate(content: bytes, seeds: Seeds, rng: np.random.Generator) -> bytes:
    held = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        if len(held) < 8:
            break
        # headers are where the harm is
        most = len(held) if rng.random() < 0.6 else min(len(held), 2048)
        place = int(rng.integers(most))
        kind = int(rng.integers(7))
        if kind == 0:
            held[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            held[place : place + 8] = rng.bytes(8)
        elif kind == 2:
            length = int(rng.choice(_LENGTHS))
            held[place : place + 4] = struct.pack("<I" if rng.random() < 0.7 else ">I", length)
        elif kind == 3:
            held[place : place + 2] = struct.pack(
                "<H" if rng.random() < 0.7 else ">H", int(rng.integers(65536))
            )
        elif kind == 4:
            del held[place:]
        elif kind == 5:
            end = min(len(held), place + int(rng.integers(1, 4096)))
            held[place:place] = held[place:end]
        else:
            other = seeds.draw(rng)[1]
            start = int(rng.integers(len(other)))
            piece = other[start : start + int(rng.integers(1, 2048))]
            held[place : place + len(piece)] = piece
    return bytes(held)


def _mend_checksums(content: bytes) -> bytes:
    """A PNG whose chunks are what they say, so that what is in them is decoded."""
    held, place = bytearray(content), 8
    while place + 12 <= len(held):
        (length,) = struct.unpack_from(">I", held, place)
        end = place + 8 + length
        if end + 4 > len(held):
            break
        held[end : end + 4] = struct.pack(">I", zlib.crc32(held[place + 4 : end]))
        place = end + 4
    return bytes(held)


def _change_elements(content: bytes, rng: np.random.Generator) -> bytes:
    """A DICOM object of which one or two attributes say something else, where pydicom can still read it."""
    from pydicom import config, dcmread

    kept = config.settings.writing_validation_mode, config.settings.reading_validation_mode
    config.settings.writing_validation_mode = config.settings.reading_validation_mode = config.IGNORE
    try:
        dataset = dcmread(io.BytesIO(content), force=True)
        for _ in range(int(rng.integers(1, 3))):
            keyword, values = _ATTRIBUTES[int(rng.integers(len(_ATTRIBUTES)))]
            setattr(dataset, keyword, values[int(rng.integers(len(values)))])
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=False)
        return out.getvalue()
    except Exception:  # this seed is no DICOM that can be written again
        return content
    finally:
        config.settings.writing_validation_mode, config.settings.reading_validation_mode = kept


_ATTRIBUTES = (
    ("Rows", (0, 1, 65535)),
    ("Columns", (0, 1, 65535)),
    ("BitsAllocated", (0, 1, 7, 12, 32, 64, 65535)),
    ("BitsStored", (0, 1, 17, 65535)),
    ("HighBit", (0, 65535)),
    ("PixelRepresentation", (1, 2, 65535)),
    ("SamplesPerPixel", (0, 2, 3, 65535)),
    ("PlanarConfiguration", (1, 7)),
    ("NumberOfFrames", ("0", "-1", "2147483647", "x")),
    ("PhotometricInterpretation", ("", "MONOCHROME1", "PALETTE COLOR", "YBR_FULL", "\x00")),
    ("RescaleSlope", ("0", "1e308", "-1", "nan", "inf")),
    ("RescaleIntercept", ("1e308", "-inf", "x")),
    ("WindowWidth", ("0", "-5", "nan")),
    ("WindowCenter", ("1e308", "")),
    ("PixelSpacing", (["0", "0"], ["-1", "1"], ["nan", "1"], ["1e-300", "1"], ["1"])),
    ("PixelPaddingValue", (0, 65535)),
    ("ShutterShape", ("CIRCULAR", "RECTANGULAR", "POLYGONAL", "?")),
    ("SpecificCharacterSet", ("ISO 2022 IR 87", "NONSENSE", "")),
    ("PatientID", ("x" * 70000, "\x00")),
)


def write_seeds(folder: Path) -> list[Path]:
    """One small film in each format, compressed DICOM and both forms of NIfTI among them."""
    import nibabel
    from PIL import Image
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    codes = np.cumsum(np.cumsum(rng.normal(size=(48, 40)), axis=0), axis=1)
    codes = np.rint((codes - codes.min()) / np.ptp(codes) * 4095).astype(np.uint16)
    eight = (codes >> 4).astype(np.uint8)
    paths = [folder / f"made{suffix}" for suffix in (".png", ".tif", ".jpg", ".nii", ".nii.gz", ".npy")]
    Image.fromarray(codes).save(paths[0])
    Image.fromarray(codes).save(paths[1], compression="tiff_deflate")
    Image.fromarray(eight).save(paths[2])
    for path in paths[3:5]:
        nibabel.save(nibabel.Nifti1Image(codes.T.astype(np.int16), np.eye(4)), path)
    np.save(paths[5], codes)
    for name, syntax in (
        ("explicit", ExplicitVRLittleEndian),
        ("implicit", ImplicitVRLittleEndian),
        ("rle", RLELossless),
    ):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3.4"
        dataset.Modality, dataset.PatientID, dataset.PatientName = "CR", "p1", "A^B"
        dataset.set_pixel_data(codes, "MONOCHROME2", 12)
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        paths.append(folder / f"{name}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def _png(width: int, height: int, data: bytes, *, bits: int = 16, colour: int = 0) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_bomb(rng: np.random.Generator) -> tuple[str, bytes]:
    """A few kilobytes that become hundreds of megabytes."""
    side = int(rng.choice([8000, 20000, 65535]))
    return ".png", _png(side, side, zlib.compress(bytes(min(side * side * 2, 300_000_000)), 9))


def png_promise(rng: np.random.Generator) -> tuple[str, bytes]:
    """A header of a huge or impossible matrix, with hardly any data."""
    width, height = (int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 100_000])) for _ in range(2))
    return ".png", _png(width, height, zlib.compress(rng.bytes(100)), bits=int(rng.choice([1, 8, 16, 255])))


def tiff_promise(rng: np.random.Generator) -> tuple[str, bytes]:
    """Directories that are huge, lie elsewhere, or follow each other in a circle."""
    entries = [
        (256, 4, 1, int(rng.choice([1, 65535, 2**31 - 1]))),
        (257, 4, 1, int(rng.choice([1, 65535, 2**31 - 1]))),
        (258, 3, 1, int(rng.choice([1, 16, 64]))),
        (259, 3, 1, int(rng.choice([1, 5, 8, 32946, 34712]))),
        (262, 3, 1, 1),
        (273, 4, 1, int(rng.choice([8, 2**32 - 1, 200]))),
        (277, 3, 1, int(rng.choice([1, 65535]))),
        (278, 4, 1, 2**32 - 1),
        (279, 4, int(rng.choice([1, 2**31 - 1])), int(rng.choice([100, 2**32 - 1]))),
    ]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    after = int(rng.choice([8, 0, 2**32 - 1]))
    return ".tif", b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + body + struct.pack(
        "<I", after
    ) + rng.bytes(200)


def nifti_promise(rng: np.random.Generator) -> tuple[str, bytes]:
    """A header whose sides are negative, huge or many, with hardly any voxels; plain or compressed."""
    import nibabel

    content = bytearray(nibabel.Nifti1Image(np.zeros((4, 4), np.int16), np.eye(4)).to_bytes())
    sides = [int(rng.choice([-1, 0, 1, 4, 32767])) for _ in range(7)]
    content[40:56] = struct.pack("<8h", int(rng.choice([0, 1, 2, 3, 7, 9, -1])), *sides)
    content[70:72] = struct.pack("<h", int(rng.choice([2, 4, 16, 64, 128, 1792, 9999])))
    content[108:112] = struct.pack("<f", float(rng.choice([352, 0, -1e30, np.nan, 1e30])))
    content[112:120] = struct.pack(
        "<ff", float(rng.choice([1, np.nan, 1e38])), float(rng.choice([0, np.inf]))
    )
    if rng.random() < 0.5:
        return ".nii.gz", gzip.compress(bytes(content))
    return ".nii", bytes(content)


def gzip_bomb(rng: np.random.Generator) -> tuple[str, bytes]:
    """A NIfTI whose voxels are a gigabyte of zeros in a megabyte, as its header says or not."""
    import nibabel

    header = bytearray(nibabel.Nifti1Image(np.zeros((4, 4), np.int16), np.eye(4)).to_bytes()[:352])
    side = int(rng.choice([4, 9000, 32767]))
    header[40:56] = struct.pack("<8h", 2, side, side, 1, 1, 1, 1, 1)
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as stream:
        stream.write(bytes(header))
        block = bytes(1 << 20)
        for _ in range(1024 if side > 9000 else 200):
            stream.write(block)
    return ".nii.gz", out.getvalue()


def npy_promise(rng: np.random.Generator) -> tuple[str, bytes]:
    """An array that says it is huge, holds objects, or has a header that wants to be evaluated."""
    dtype = str(rng.choice(["<u2", "|O", "<f8", "<U10", "V8", "[('a','<u2')]"]))
    shape = str(rng.choice(["(2, 2)", "(1000000, 1000000)", "(-1, 5)", "()", "__import__('os').abort()"]))
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return ".npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + rng.bytes(64)


def dicom_nest(rng: np.random.Generator) -> tuple[str, bytes]:
    """Sequences inside sequences, thousands deep, of undefined or false length."""
    depth = int(rng.choice([50, 2000, 100_000]))
    length = int(rng.choice([0xFFFFFFFF, 0x7FFFFFFF]))
    opening = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, length) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, length
    )
    return ".dcm", bytes(128) + b"DICM" + _meta(b"1.2.840.10008.1.2.1") + opening * depth


def dicom_promise(rng: np.random.Generator) -> tuple[str, bytes]:
    """A value of up to four gigabytes that is not there, plain, compressed, or deflated."""
    syntax = str(
        rng.choice(["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.99"])
    ).encode()
    length = int(rng.choice([0xFFFFFFFE, 0x7FFFFFFF, 0xFFFFFFFF]))
    body = b"".join(
        [
            _element(0x0008, 0x0016, b"UI", b"1.2.840.10008.5.1.4.1.1.1\x00"),
            _element(0x0008, 0x0060, b"CS", b"CR"),
            _element(0x0028, 0x0002, b"US", struct.pack("<H", 1)),
            _element(0x0028, 0x0004, b"CS", b"MONOCHROME2 "),
            _element(0x0028, 0x0010, b"US", struct.pack("<H", int(rng.choice([64, 65535])))),
            _element(0x0028, 0x0011, b"US", struct.pack("<H", int(rng.choice([64, 65535])))),
            _element(0x0028, 0x0100, b"US", struct.pack("<H", 16)),
            _element(0x0028, 0x0101, b"US", struct.pack("<H", 16)),
            _element(0x0028, 0x0102, b"US", struct.pack("<H", 15)),
            _element(0x0028, 0x0103, b"US", struct.pack("<H", 0)),
            struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, length) + rng.bytes(64),
        ]
    )
    if syntax.endswith(b".99"):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = packer.compress(body + bytes(200_000_000)) + packer.flush()
    return ".dcm", bytes(128) + b"DICM" + _meta(syntax) + body


def rle_bomb(rng: np.random.Generator) -> tuple[str, bytes]:
    """Run-length code that unpacks to far more, or far less, than the matrix holds."""
    suffix, content = dicom_promise(np.random.default_rng(1))
    run = bytes([129, 0]) * int(rng.choice([10, 500_000]))
    header = struct.pack("<16I", int(rng.choice([1, 2, 15, 2**31])), 64, *[int(rng.integers(2**32))] * 14)
    fragment = header + run
    encapsulated = (
        struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0)
        + struct.pack("<HHI", 0xFFFE, 0xE000, len(fragment))
        + fragment
        + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )
    pixels = content.index(struct.pack("<HH", 0x7FE0, 0x0010))
    plain = content[:pixels].replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.5\x00")
    return suffix, plain + encapsulated


def archive(rng: np.random.Generator) -> tuple[str, bytes]:
    """A zip under the name of an image, with members outside of it and a bomb inside."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("../../outside.txt", b"x")
        pack.writestr("/etc/outside.txt", b"x")
        pack.writestr("bomb.png", bytes(50_000_000))
    return str(rng.choice([".png", ".dcm", ".nii.gz", ""])), out.getvalue()


def _element(group: int, element: int, kind: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, element, kind, len(value)) + value


def _meta(syntax: bytes) -> bytes:
    padded = syntax + b"\x00" * (len(syntax) % 2)
    body = _element(0x0002, 0x0010, b"UI", padded)
    return _element(0x0002, 0x0000, b"UL", struct.pack("<I", len(body))) + body


BUILT: tuple[Callable[[np.random.Generator], tuple[str, bytes]], ...] = (
    png_promise,
    tiff_promise,
    nifti_promise,
    npy_promise,
    dicom_nest,
    dicom_promise,
    rle_bomb,
    archive,
    png_promise,
    tiff_promise,
    nifti_promise,
    npy_promise,
    png_bomb,
    gzip_bomb,
)
