"""`tone`: a translation that cannot move structure (ours, no paper).

The generator paints no pixel. From a thumbnail and a style vector it predicts local monotone tone curves,
bounded gains of detail and the strength of a capped texture of noise, which are applied to the image's own
pixels, at whatever size (`networks/tone_map.py`, `networks/tone_predictor.py`). One-sided: a least-squares
GAN (Mao et al., ICCV 2017) with one discriminator for detail in windows of the image and one for the tones
of the whole image, both augmented. There is no cycle, as there is no image content to lose.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medi2i.adapters.base import AdamConfig, Batch, Direction, DomainAdapter, Player, Shared, StyleKind
from medi2i.adapters.judging import judge_patches
from medi2i.config import Config
from medi2i.errors import UsageError
from medi2i.losses import StructureLossConfig, StructureLosses, TranslationPair
from medi2i.networks.augmentation import DiscriminatorAugmentationConfig, blacken
from medi2i.networks.discriminator import PatchGANConfig
from medi2i.networks.munit_styles import sample_styles
from medi2i.networks.tone_map import ToneBounds, apply_tone
from medi2i.networks.tone_predictor import TonePredictorConfig
from medi2i.networks.tone_texture import draw_texture, weigh_texture
from medi2i.similarity.weighting import masked_mean


class ToneConfig(Config):
    """Everything `tone` can be told; a weight of 0 turns a term off.

    Attributes:
        bounds: what no training can exceed.
        predictor: the generator's size.
        discriminator: judges detail, in windows of `window_px`.
        tone_discriminator: judges the whole image, averaged down by `tone_factor`.
        diversity: weight of max(0, 1 - d / diversity_distance), with d the mean absolute difference of two
            styles of one image: styles that all look alike cost (after mode seeking: Mao et al., CVPR 2019).
    """

    name: Literal["tone"] = "tone"
    bounds: ToneBounds = ToneBounds()
    predictor: TonePredictorConfig = TonePredictorConfig()
    discriminator: PatchGANConfig = PatchGANConfig(layers=2, norm="none", detail_gain=8.0)
    tone_discriminator: PatchGANConfig = PatchGANConfig(layers=2, norm="none")
    optimizer: AdamConfig = AdamConfig()
    discriminator_optimizer: AdamConfig = AdamConfig()
    adversarial: float = Field(default=1.0, gt=0)
    adversarial_tone: float = Field(default=1.0, ge=0)
    window_px: int | None = Field(default=128, ge=16, description="None: the whole image")
    tone_factor: int = Field(default=4, ge=1)
    diversity: float = Field(default=0.2, ge=0)
    diversity_distance: float = Field(default=0.06, gt=0)
    augmentation: DiscriminatorAugmentationConfig | None = DiscriminatorAugmentationConfig()
    structure_losses: tuple[StructureLossConfig, ...] = ()

    def build(self, *, seed: int) -> Tone:
        """An adapter with weights drawn by `seed`, which also decides each image's style."""
        return Tone(self, seed=seed)


class Tone(DomainAdapter):
    """A predictor of tones and gains, and its two judges; see the module."""

    averaged_networks = ("predictor",)
    bidirectional: ClassVar[bool] = False
    multimodal: ClassVar[bool] = True
    styles: ClassVar[tuple[StyleKind, ...]] = ("random", "mean", "interpolate")
    any_size: ClassVar[bool] = True
    whole_images: ClassVar[bool] = True  # grids lie over the whole image
    seed: Tensor

    def __init__(self, config: ToneConfig, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.predictor: nn.Module = config.predictor.build(config.bounds, seed=seed)
        self.discriminator: nn.Module = config.discriminator.build(seed=seed + 1)
        judges: tuple[str, ...] = ("discriminator",)
        if config.adversarial_tone:
            self.tone_discriminator: nn.Module = config.tone_discriminator.build(seed=seed + 2)
            judges += ("tone_discriminator",)
        self.structure_losses = StructureLosses(config.structure_losses)
        # in the state, because a checkpoint is built with another seed before its state is loaded
        self.register_buffer("seed", torch.tensor(seed, dtype=torch.int64))
        self.players = (
            Player("generator", ("predictor",), config.optimizer),
            Player("discriminators", judges, config.discriminator_optimizer),
        )

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """The predictor's or the discriminators' terms."""
        if player.name == "generator":
            return self._generator_losses(batch, shared)
        return self._discriminator_losses(batch, shared)

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        """Images of any size in the look of the target domain; the same call gives the same pixels.

        Args:
            image: (B, 1, H, W) in [-1, 1].
            direction: source to target.
            valid: 1 where there is an image.
            style: an integer n, or "random" and None for 0: each image's n-th draw, from its content; "mean"
                is the middle of all styles; a tensor (S,) or (B, S) is the style itself.
            attributes: not used.

        Raises:
            UsageError: the direction is target to source, or `style` is none of these.
        """
        if direction != "source-to-target":
            raise UsageError(
                f"--direction {direction}",
                found="method 'tone'",
                expected="source-to-target: it learns one way only",
                remedy="use a method that goes both ways",
            )
        valid = torch.ones_like(image) if valid is None else valid
        styles, textures = self._draw(image, valid, style)
        grids = self.predictor(image, valid, styles)
        toned = apply_tone(image, grids, self.config.bounds)
        return (toned + weigh_texture(textures, grids.amplitudes)).clamp(-1, 1).to(image.dtype)

    def sample_styles(self, count: int, generator: torch.Generator) -> Float[Tensor, "N S"]:
        """Codes from N(0, 1), on the generator's device."""
        return sample_styles(count, self.config.predictor.style_size, generator)

    def _generator_losses(self, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        config = self.config
        source = batch.source
        draws = 2 if config.diversity else 1
        styles = torch.randn(
            draws * len(source),
            config.predictor.style_size,
            generator=batch.device,
            device=source.device,
        )
        several = source.repeat(draws, 1, 1, 1)
        grids = self.predictor(several, batch.source_valid.repeat(draws, 1, 1, 1), styles)
        toned = apply_tone(several, grids, config.bounds)
        texture = draw_texture(source.shape, config.bounds.reference_px, len(source), batch.device)
        grain = weigh_texture(texture, grids.amplitudes[: len(source)])
        translated = (toned[: len(source)] + grain).clamp(-1, 1)
        shared.values.update(translated=translated.detach(), joint=batch.source_valid * batch.target_valid)
        losses = self._judge_all(translated, batch, shared, real=True)
        if config.diversity:
            one, other = toned.clamp(-1, 1).chunk(2)
            distance = masked_mean((one - other).abs(), batch.source_valid)
            losses["diversity"] = config.diversity * F.relu(1 - distance / config.diversity_distance)
        pair = TranslationPair(source, translated, batch.source_mask, batch.source_valid)
        return losses | self.structure_losses.terms({"source": pair}, batch.step)

    def _discriminator_losses(self, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        real = self._judge_all(batch.target, batch, shared, real=True)
        translated = self._judge_all(shared.values["translated"], batch, shared, real=False)
        return {name: 0.5 * (real[name] + translated[name]) for name in real}

    def _judge_all(self, image: Tensor, batch: Batch, shared: Shared, *, real: bool) -> dict[str, Tensor]:
        """Both discriminators' distances from 'real' or 'translated', weighted."""
        config = self.config
        joint = shared.values["joint"]
        if "corners" not in shared.values:  # one window for all looks of a batch: place tells no domain
            shared.values["corners"] = _draw_corners(joint.shape, config.window_px, batch.host)
        window, window_valid = (
            _cut(planes, shared.values["corners"], config.window_px) for planes in (image, joint)
        )
        losses = {
            "detail": config.adversarial * self._judge(self.discriminator, window, window_valid, batch, real)
        }
        if config.adversarial_tone:
            small = F.avg_pool2d(blacken(image, joint), config.tone_factor)
            small_valid = F.avg_pool2d(joint, config.tone_factor)
            small_valid = (small_valid > 0.5).to(joint.dtype)
            losses["tone"] = config.adversarial_tone * self._judge(
                self.tone_discriminator, small, small_valid, batch, real
            )
        return losses

    def _judge(
        self, discriminator: nn.Module, image: Tensor, valid: Tensor, batch: Batch, real: bool
    ) -> Tensor:
        return judge_patches(discriminator, image, valid, batch, self.config.augmentation, real=real)

    def _draw(self, image: Tensor, valid: Tensor, style: Any) -> tuple[Tensor, Tensor]:
        """Styles (B, S) and textures (B, 2, H, W), made on the CPU so that every device gets the same."""
        size, reference_px = self.config.predictor.style_size, self.config.bounds.reference_px
        seed = int(self.seed)
        given = _given_style(style, size, len(image))
        draw = style if isinstance(style, int) and style != 0 else "random"
        styles, textures = [], []
        for number, (one, mask) in enumerate(zip(image.float().cpu(), valid.cpu(), strict=True)):
            generator = torch.Generator().manual_seed(_seed_of(one, mask, f"{seed} {draw}"))
            drawn = sample_styles(1, size, generator)[0]
            styles.append(drawn if given is None else given[number])
            textures.append(draw_texture(one.shape, reference_px, 1, generator))
        return torch.stack(styles).to(image), torch.cat(textures).to(image.device)


def _given_style(style: Any, size: int, batch: int) -> Float[Tensor, "B S"] | None:
    """The styles that were asked for, on the CPU; None when each image draws its own."""
    if style is None or (isinstance(style, int) and not isinstance(style, bool)):
        return None
    if isinstance(style, str) and style == "random":
        return None
    if isinstance(style, str) and style == "mean":
        return torch.zeros(batch, size)
    if isinstance(style, Tensor) and tuple(style.shape) in {(size,), (batch, size)}:
        return style.detach().float().cpu().expand(batch, size)
    raise UsageError(
        "style",
        found=f"shape {tuple(style.shape)}" if isinstance(style, Tensor) else repr(style)[:40],
        expected=f"nothing, an integer, 'random', 'mean', or a tensor of {size} numbers",
        remedy="give a number, e.g. 0, 1, 2 for three looks of each image",
    )


def _seed_of(image: Float[Tensor, "1 H W"], valid: Float[Tensor, "1 H W"], name: str) -> int:
    """A seed made of what the image shows where it is valid, rounded to 16 bits, and of a name."""
    codes = (blacken(image, valid).clamp(-1, 1) * 32767).round().to(torch.int16)
    digest = hashlib.sha256(codes.numpy().tobytes())
    digest.update(f"{tuple(image.shape)} {name}".encode())
    return int.from_bytes(digest.digest()[:7], "big")


def _draw_corners(
    shape: tuple[int, ...], window_px: int | None, host: torch.Generator
) -> list[tuple[int, int]]:
    """Upper left corner of each image's window."""
    reach = [max(1, side - (window_px or side) + 1) for side in shape[-2:]]
    return [
        (
            int(torch.randint(reach[0], (), generator=host)),
            int(torch.randint(reach[1], (), generator=host)),
        )
        for _ in range(shape[0])
    ]


def _cut(image: Tensor, corners: list[tuple[int, int]], window_px: int | None) -> Tensor:
    """Each image's window; all of it where the window is larger."""
    height, width = (min(side, window_px or side) for side in image.shape[-2:])
    return torch.stack(
        [
            one[:, top : top + height, left : left + width]
            for one, (top, left) in zip(image, corners, strict=True)
        ]
    )
