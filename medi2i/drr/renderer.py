"""Ray integrals through a CT. nanodrr does them; all else knows the `Projector` protocol alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt16
from torch import Tensor

from medi2i.drr.boxes import Box, bounding_box, clip_lengths
from medi2i.drr.geometry import Camera

_RAYS_ON_CPU = 8192  # of one chunk: their samples fit into a few hundred MB, whatever the detector
_RAYS_ON_GPU = 262_144


@dataclass(frozen=True, slots=True)
class RayIntegrals:
    """One view.

    Attributes:
        fields: (M, H, W) integral of each field along each ray, in the field's unit times mm.
        path_mm: (S, H, W) length of each ray inside each structure.
    """

    fields: Float32[np.ndarray, "M H W"]
    path_mm: Float32[np.ndarray, "S H W"]


class Projector(Protocol):
    """One patient's fields and structures, ready for any number of views."""

    def project(self, camera: Camera) -> RayIntegrals:
        """Integrals along the rays from the source to each pixel's centre."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A nanodrr subject cut to the box where it is not zero."""

    subject: object
    box: Box


class NanodrrProjector:
    """Trilinear ray marching by nanodrr (fused kernels on CUDA and MPS), in chunks of rows.

    Args:
        fields: (M, I, J, K) what is integrated; 0 outside the array.
        codes: (I, J, K) row of `membership` for each voxel, taken from the nearest; None for no structures.
        membership: (N, S) which structures a code belongs to, row 0 none.
        affine: voxel index to RAS mm.
        support: (I, J, K) outside whose box the fields count as 0; they are taken as they are if None.
        step_mm: longest distance of samples; the smallest voxel side if None.
        device: where to compute.
    """

    def __init__(
        self,
        fields: Float32[np.ndarray, "M I J K"],
        codes: UInt16[np.ndarray, "I J K"] | None,
        membership: Bool[np.ndarray, "N S"],
        affine: Float64[np.ndarray, "4 4"],
        *,
        support: Bool[np.ndarray, "I J K"] | None = None,
        step_mm: float | None = None,
        device: str = "cpu",
    ) -> None:
        self._step_mm = step_mm or float(np.linalg.norm(affine[:3, :3], axis=0).min())
        self._device = torch.device(device)
        self._fields = [
            self._cut(field, field > 0 if support is None else support, affine) for field in fields
        ]
        self._structures = membership.shape[1]
        self._membership, self._labels = self._prepare_labels(codes, membership, affine)

    def project(self, camera: Camera) -> RayIntegrals:
        """Integrals along the rays from the source to each pixel's centre."""
        fields = np.zeros((len(self._fields), camera.rows, camera.columns), dtype=np.float32)
        path_mm = np.zeros((self._structures, camera.rows, camera.columns), dtype=np.float32)
        chunks = self._chunk_rows(camera)
        for out, part in zip(fields, self._fields, strict=True):
            if part is not None:
                for rows, integrals in self._march(part, camera, chunks):
                    out[rows] = integrals[0]
        if self._labels is not None:
            for rows, lengths in self._march(self._labels, camera, chunks):
                path_mm[:, rows] = np.tensordot(self._membership.T, lengths, axes=1)
        return RayIntegrals(fields, path_mm)

    def _chunk_rows(self, camera: Camera) -> list[slice]:
        largest = _RAYS_ON_CPU if self._device.type == "cpu" else _RAYS_ON_GPU
        rows = max(1, largest // camera.columns)
        return [slice(row, min(row + rows, camera.rows)) for row in range(0, camera.rows, rows)]

    def _prepare_labels(
        self,
        codes: UInt16[np.ndarray, "I J K"] | None,
        membership: Bool[np.ndarray, "N S"],
        affine: Float64[np.ndarray, "4 4"],
    ) -> tuple[Float32[np.ndarray, "N S"], _Part | None]:
        """The codes that differ in what they belong to, and a volume of ones labelled by them."""
        if codes is None or not membership.any():
            return np.zeros((1, self._structures), dtype=np.float32), None
        # the empty set sorts first, so it keeps code 0
        distinct, renumbered = np.unique(membership, axis=0, return_inverse=True)
        labels = renumbered.astype(np.float32)[codes]
        return distinct.astype(np.float32), self._cut(None, labels > 0, affine, labels)

    def _cut(
        self,
        field: Float32[np.ndarray, "I J K"] | None,
        used: Bool[np.ndarray, "I J K"],
        affine: Float64[np.ndarray, "4 4"],
        labels: Float32[np.ndarray, "I J K"] | None = None,
    ) -> _Part | None:
        """The used box as a subject; a field of ones if there are only labels; None where nothing is used."""
        from nanodrr.data import Subject
        from torchio import LabelMap, ScalarImage

        box = bounding_box(used, affine, margin=1)
        if box is None:
            return None
        values = np.ones(box.shape, dtype=np.float32) if field is None else field[box.slices]
        image = ScalarImage(tensor=torch.from_numpy(np.ascontiguousarray(values))[None], affine=box.affine)
        label = None
        if labels is not None:
            cut = torch.from_numpy(np.ascontiguousarray(labels[box.slices]))[None]
            label = LabelMap(tensor=cut, affine=box.affine)
        highest = 0 if labels is None else int(labels.max())
        subject = Subject.from_images(image, label, max_label=highest, convert_to_mu=False)
        return _Part(subject.to(self._device), box)

    def _march(
        self, part: _Part, camera: Camera, chunks: list[slice]
    ) -> Iterator[tuple[slice, Float32[np.ndarray, "N rows W"]]]:
        """Integrals of every label, chunk by chunk; chunks whose rays all miss the part are left out."""
        longest = [
            float(clip_lengths(part.box, camera, _targets(camera, rows)[0].double().numpy()).max())
            for rows in chunks
        ]
        # of the whole view, so that the chunks don't show
        samples = max(2, math.ceil(max(longest) / self._step_mm))
        for rows, length in zip(chunks, longest, strict=True):
            if length > 0:
                yield rows, self._march_rows(part, camera, rows, samples)

    @torch.no_grad()
    def _march_rows(
        self, part: _Part, camera: Camera, rows: slice, samples: int
    ) -> Float32[np.ndarray, "N rows W"]:
        from nanodrr.drr.renderer import render

        device = self._device
        rendered = render(
            part.subject,
            torch.eye(3, device=device)[None],  # not used: sources and targets are given
            torch.tensor(camera.patient_from_camera, dtype=torch.float32, device=device)[None],
            torch.tensor([camera.source_to_detector_mm], device=device),
            rows.stop - rows.start,
            camera.columns,
            n_samples=samples,
            src=torch.zeros(1, 1, 3, device=device),
            tgt=_targets(camera, rows).to(device),
        )
        return np.asarray(rendered[0].cpu().numpy())


def _targets(camera: Camera, rows: slice) -> Float32[Tensor, "1 N 3"]:
    """Where the rays of some rows end, in camera coordinates, as nanodrr takes them."""
    return torch.tensor(camera.targets_mm(rows), dtype=torch.float32)[None]
