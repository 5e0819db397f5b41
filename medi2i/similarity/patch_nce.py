"""Patches that recognise their own place (PatchNCE: Park et al., "Contrastive learning for unpaired
image-to-image translation", ECCV 2020, eq. 3; InfoNCE: van den Oord et al. 2018).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medi2i.similarity.applicability import require_size, where_counted
from medi2i.similarity.mind import mind_descriptor
from medi2i.similarity.weighting import at_least_float32, erode_weight, masked_mean_per_image

_NEVER = -1e4  # a logit that adds nothing, and whose difference to itself is defined
_DISTANCES_PX = (1, 2, 4)
_REACH_PX = 5  # the longest of them, and half a patch
_NO_DETAIL = 0.05  # length of a descriptor, of 1 at most a component, that says nothing


def patch_nce(
    queries: Float[Tensor, "B P D"],
    keys: Float[Tensor, "B P D"],
    temperature: float,
    weight: Float[Tensor, "B P"] | None = None,
) -> Float[Tensor, "B P"]:
    """Cross-entropy of finding each place among all of its image: -log softmax(q . k / t) at its own.

    Args:
        queries: unit vectors of the translation, one a place.
        keys: unit vectors of the source at the same places.
        temperature: t.
        weight: >= 0; places of weight 0 are no place's wrong answer.
    """
    queries, keys = at_least_float32(queries), at_least_float32(keys)
    # autocast would multiply in half precision, and divide what is lost by the temperature
    with torch.autocast(queries.device.type, enabled=False):
        logits = torch.einsum("bqd,bkd->bqk", queries, keys) / temperature
    own = logits.diagonal(dim1=1, dim2=2)
    if weight is not None:
        itself = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
        logits = torch.where((weight[:, None] > 0) | itself, logits, torch.full_like(logits, _NEVER))
    return torch.logsumexp(logits, dim=2) - own


def draw_places(
    valid: Float[Tensor, "B 1 h w"], count: int, generator: torch.Generator
) -> tuple[Int[Tensor, "B P"], Float[Tensor, "B P"]]:
    """Different places of each image, drawn at random, valid ones first, and whether each is valid.

    Args:
        valid: 1 where a place counts.
        count: places wanted; all of them where there are fewer.
        generator: on the device of `valid`.
    """
    flat = (valid.flatten(1) > 0).float()
    drawn = torch.rand(flat.shape, generator=generator, device=flat.device)
    places = (drawn + flat).topk(min(count, flat.shape[1]), dim=1).indices
    return places, flat.gather(1, places).to(valid.dtype)


def patch_nce_distance(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    temperature: float = 0.07,
    stride_px: int = 8,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """How much worse y's patches find their place in x than x's own do, in nats, >= 0; 0 when equal.

    Features are fixed and blind to polarity (MIND at distances of 1, 2 and 4 px), and places lie on a grid,
    so that nothing is learned or random. Finding a place better than x itself does earns nothing. Computed in
    float32 (float64 stays) under autocast too.

    Args:
        x, y: images.
        weight: >= 0; a place counts with its weight, and not at all when a pixel of weight 0 is within reach.
        temperature: the smaller, the more a place is told from those that look alike.
        stride_px: between places, in rows and columns.
        undefined: result where no place counts.

    Raises:
        UsageError: an image without room for two places in rows and columns.
    """
    require_size(x, 2 * _REACH_PX + 1 + stride_px, "PatchNCE")
    x, y = at_least_float32(x), at_least_float32(y)
    weight = torch.ones_like(x) if weight is None else weight.to(x.dtype)
    inside = slice(_REACH_PX, -_REACH_PX, stride_px)
    counted = erode_weight(weight, _REACH_PX)[..., inside, inside]
    keys, queries = (_describe(image, weight, inside) for image in (x, y))
    places = counted.flatten(1)
    found = patch_nce(queries, keys, temperature, places)
    itself = patch_nce(keys, keys, temperature, places)
    lost = (found - itself).clamp(min=0).view_as(counted)
    return where_counted(masked_mean_per_image(lost, counted), counted, undefined)


def _describe(image: Tensor, weight: Tensor, inside: slice) -> Float[Tensor, "B P D"]:
    """Unit vectors at places on a grid; nearly 0 where an image has no detail."""
    descriptors = [mind_descriptor(image, 1, distance, 8, weight) for distance in _DISTANCES_PX]
    joined = torch.cat(descriptors, dim=1)[..., inside, inside]
    vectors = (joined - joined.mean(dim=1, keepdim=True)).flatten(2).transpose(1, 2)
    return vectors / (vectors.pow(2).sum(dim=2, keepdim=True) + _NO_DETAIL**2).sqrt()
