"""Cells of an image and of its translation, and the pairs of them that OP-GAN compares (Xie et al. 2020).

Both are cut into the same grid; the cells of both are the pool. A pair of two cells of the image is case D1,
of two cells of the translation D2, of the same cell in both C1, of different cells of both C2. Content maps
are compared here too: they are the siamese network's reading of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from medi2i.errors import UsageError
from medi2i.networks.siamese import SMALLEST_PATCH_PX
from medi2i.similarity.weighting import at_least_float32, masked_mean, masked_mean_per_image

Sampling = Literal["stratified", "uniform"]
D1, D2, C1, C2 = range(4)
_SMALLEST_SPREAD = 1e-4


@dataclass(frozen=True)
class Drawn:
    """K pairs for each of B images.

    Attributes:
        pairs: places in the pool; cell c of the image is c, of the translation c + number of cells.
        cases: D1, D2, C1 or C2.
        counted: False where an image had no such pair of cells that count.
    """

    pairs: Int[Tensor, "B K 2"]
    cases: Int[Tensor, "B K"]
    counted: Bool[Tensor, "B K"]


@dataclass(frozen=True)
class Grid:
    """Where the cells lie: `side` x `side` cells of `cell_px` (rows, columns) from `offset_px` on."""

    side: int
    cell_px: tuple[int, int]
    offset_px: tuple[int, int]

    def cut(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B cells C h w"]:
        """The cells, row by row."""
        (height, width), (top, left) = self.cell_px, self.offset_px
        covered = image[..., top : top + self.side * height, left : left + self.side * width]
        cells = covered.unflatten(-1, (self.side, width)).unflatten(-3, (self.side, height))
        return cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def place_grid(size: tuple[int, int], side: int, jitter: float, generator: torch.Generator) -> Grid:
    """A grid centred in an image of `size` (rows, columns), or with `jitter` anywhere in it.

    Args:
        jitter: fraction of the image that the cells leave free to be moved in; 0 takes cells of
            floor(size / side) and draws nothing.
        generator: on the host.

    Raises:
        UsageError: cells would be too small for the siamese network.
    """
    cell = tuple(int(length * (1 - jitter)) // side for length in size)
    if min(cell) < SMALLEST_PATCH_PX:
        raise UsageError(
            "data.crop_size",
            found=f"{size[0]} x {size[1]} px, so cells of {cell[0]} x {cell[1]}",
            expected=f"cells of {SMALLEST_PATCH_PX} px or more in a grid of {side} x {side}",
            remedy="train on larger crops, or take a smaller adapter.grid",
        )
    free = tuple(length - side * one for length, one in zip(size, cell, strict=True))
    if jitter:
        offset = tuple(int(torch.randint(most + 1, (), generator=generator)) for most in free)
    else:
        offset = tuple(most // 2 for most in free)
    return Grid(side, (cell[0], cell[1]), (offset[0], offset[1]))


def pair_table(cells: int) -> tuple[Int[Tensor, "P 2"], Int[Tensor, " P"]]:
    """All pairs of different places in the pool, and the case of each."""
    pairs = torch.combinations(torch.arange(2 * cells))
    first, second = pairs.unbind(1)
    cases = torch.full_like(first, C2)
    cases[second < cells] = D1
    cases[first >= cells] = D2
    cases[second - first == cells] = C1
    return pairs, cases


def draw_pairs(usable: Bool[Tensor, "B cells"], sampling: Sampling, generator: torch.Generator) -> Drawn:
    """Pairs of cells that count, drawn for each image on its own.

    `uniform` is the literal reading: one pair of the pool, so that with 9 cells D1 and D2 come up in 36 of
    153 draws each, C1 in 9 and C2 in 72. `stratified` draws one pair of each case.

    Args:
        usable: which cells count; an image and its translation share them.
        sampling: see above.
        generator: of the device of `usable`.
    """
    pairs, cases = (table.to(usable.device) for table in pair_table(usable.shape[1]))
    pool = torch.cat([usable, usable], dim=1)
    possible = pool[:, pairs[:, 0]] & pool[:, pairs[:, 1]]
    wanted = torch.ones_like(cases, dtype=torch.bool)[None]
    if sampling == "stratified":
        wanted = cases == torch.arange(4, device=usable.device)[:, None]
    shape = (usable.shape[0], *wanted.shape)
    ticket = torch.rand(shape, device=usable.device, generator=generator)
    # the highest ticket wins: a uniform draw among the possible ones without asking the device how many
    best, place = torch.where(possible[:, None] & wanted, ticket, -1.0).max(dim=2)
    return Drawn(pairs[place], cases[place], best >= 0)


def pick(cells: Float[Tensor, "B pool C h w"], places: Int[Tensor, "B K"]) -> Float[Tensor, "N C h w"]:
    """The cells at these places of each image's pool, images one after the other (N = B * K)."""
    image = torch.arange(cells.shape[0], device=cells.device)[:, None]
    return cells[image, places].flatten(0, 1)


def content_distance(
    first: Float[Tensor, "N 1 h w"],
    second: Float[Tensor, "N 1 h w"],
    valid: Float[Tensor, "N 1 h w"],
    weight: Float[Tensor, " N"],
) -> Float[Tensor, ""]:
    """Mean squared difference of content maps (L_cc) over the valid pixels of pairs that have weight.

    Args:
        first, second: maps of a cell before and after translation.
        valid: 1 where both cells are image.
        weight: 1 for pairs of case C1 that count, 0 for others; 0 if there is none.
    """
    difference = (at_least_float32(first) - at_least_float32(second)) ** 2
    return masked_mean(difference, valid * weight[:, None, None, None])


def separation(
    first: Float[Tensor, "N 1 h w"],
    second: Float[Tensor, "N 1 h w"],
    valid: Float[Tensor, "N 1 h w"],
    weight: Float[Tensor, " N"],
    margin: float,
) -> Float[Tensor, ""]:
    """Mean over pairs of max(0, margin - mean squared difference of their maps): different cells stay apart.

    A pair without a common valid pixel does not count.
    """
    difference = (at_least_float32(first) - at_least_float32(second)) ** 2
    lacking = (margin - masked_mean_per_image(difference, valid)).clamp(min=0)
    return masked_mean(lacking, weight * (valid.flatten(1).sum(dim=1) > 0))


def spatial_spread(maps: Float[Tensor, "N 1 h w"], valid: Float[Tensor, "N 1 h w"]) -> Float[Tensor, " N"]:
    """Standard deviation of each map over its valid pixels, never below 1e-4 (its slope stays finite)."""
    maps = at_least_float32(maps)
    centred = maps - masked_mean_per_image(maps, valid)[:, None, None, None]
    return (masked_mean_per_image(centred**2, valid) + _SMALLEST_SPREAD**2).sqrt()


def standardise(maps: Float[Tensor, "N 1 h w"], valid: Float[Tensor, "N 1 h w"]) -> Float[Tensor, "N 1 h w"]:
    """Each map with mean 0 and standard deviation 1 over its valid pixels."""
    centred = at_least_float32(maps) - masked_mean_per_image(maps, valid)[:, None, None, None]
    return centred / spatial_spread(maps, valid)[:, None, None, None]
