"""StarGAN: one generator for all translations, told by a code what to make (Choi et al., CVPR 2018).

The code says domain (DRR or film) and, where they are known, attributes of acquisition. One network goes both
ways; a critic scores realness and reads the code off the image.

Faithful by default: Wasserstein critic with gradient penalty 10, classification 1, reconstruction 10, targets
are the batch's own codes in random order, critic in every step and generator in every 5th, Adam 1e-4 with
betas (0.5, 0.999). Not in the paper: the code by `film` and `pooled` heads (the paper's are `concat` and
`fixed`), codes that are known in part, and all that is off by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from medi2i.adapters.base import AdamConfig, Batch, Direction, DomainAdapter, Player, Shared
from medi2i.adapters.stargan_codes import choose_code, spread_code
from medi2i.config import Config
from medi2i.data.attributes import AttributesConfig
from medi2i.image import Domain
from medi2i.losses import StructureLossConfig, StructureLosses, TranslationPair
from medi2i.losses.gradient_penalty import gradient_penalty, mix
from medi2i.losses.labels import LabelLoss, fill_unknown, label_distance
from medi2i.networks.augmentation import DiscriminatorAugmentationConfig, blacken, present
from medi2i.networks.stargan import StarGANGeneratorConfig
from medi2i.networks.stargan_discriminator import Judgement, StarGANDiscriminatorConfig
from medi2i.networks.way import Way
from medi2i.similarity.weighting import masked_mean, masked_mean_per_image

ADAM = AdamConfig(learning_rate=1e-4)


class StarGANConfig(Config):
    """Everything StarGAN can be told.

    Not in the paper: `structure_losses`, `augmentation`, `unlabelled_reconstruction`, `penalty_scores: mean`,
    the generator's `residual_output` and `full_resolution_skip`, the discriminator's `detail_gain` and
    `initialization`.

    Attributes:
        attributes: what the code says beside the domain.
        critic_steps: the generator has its turn in every so many-th step.
        penalty_scores: whether the penalty holds the slope of the sum of an image's patches at 1, as in the
            authors' code, or that of their mean, which is what the adversarial term has. The sum ties the
            adversarial term's strength to the number of patches: theirs has 4 at 128 px.
        classification: weight of the code's loss, of real images (critic) and of translated ones (generator).
        label_loss: of the bits of a group; see `losses.labels`.
        unlabelled_reconstruction: how an image is reconstructed whose code is known in part: with what the
            critic reads off it in place of the unknown bits, or not at all.
    """

    name: Literal["stargan"] = "stargan"
    attributes: AttributesConfig = AttributesConfig()
    generator: StarGANGeneratorConfig = StarGANGeneratorConfig()
    discriminator: StarGANDiscriminatorConfig = StarGANDiscriminatorConfig()
    optimizer: AdamConfig = ADAM
    discriminator_optimizer: AdamConfig = ADAM
    critic_steps: int = Field(default=5, ge=1)
    adversarial: float = Field(default=1.0, gt=0)
    penalty: float = Field(default=10.0, ge=0)
    penalty_scores: Literal["sum", "mean"] = "sum"
    classification: float = Field(default=1.0, gt=0)
    reconstruction: float = Field(default=10.0, ge=0)
    label_loss: LabelLoss = "cross_entropy"
    unlabelled_reconstruction: Literal["predicted", "none"] = "predicted"
    augmentation: DiscriminatorAugmentationConfig | None = None
    structure_losses: tuple[StructureLossConfig, ...] = ()
    structure_losses_on: Literal["both", "source"] = "both"

    def build(self, *, seed: int) -> StarGAN:
        """A StarGAN with weights drawn by `seed`."""
        return StarGAN(self, seed=seed)


@dataclass(frozen=True)
class Turn:
    """The images of a step, and what is to be made of each.

    Attributes:
        image, valid: N images, in equal groups that follow one another.
        area: what is judged of each; the same for all groups, so that the shape of an edge says nothing of
            the class.
        code: what is known of each image.
        target: what its translation is to be.
        labelled: whether all that there is to know of the images is known.
        mixed: whether a group has images of both domains or the order of the domains is open; otherwise the
            first half is the source's, the second the target's.
        pairs: images to compare, and their translations: places, and 1 for a match.
    """

    image: Float[Tensor, "N 1 H W"]
    valid: Float[Tensor, "N 1 H W"]
    area: Float[Tensor, "N 1 H W"]
    code: Float[Tensor, "N C"]
    target: Float[Tensor, "N C"]
    labelled: bool = False
    mixed: bool = False
    pairs: tuple[Int[Tensor, "P 2"], Int[Tensor, " P"]] | None = None
    translated_pairs: tuple[Int[Tensor, "Q 2"], Int[Tensor, " Q"]] | None = None


class StarGAN(DomainAdapter):
    """A generator and a critic; see the module for what is faithful."""

    averaged_networks = ("generator",)
    needs_attributes: ClassVar[bool] = True
    matches: ClassVar[bool] = False
    classes: Tensor
    told: Tensor

    def __init__(self, config: StarGANConfig, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.attributes: AttributesConfig = config.attributes
        self.size_multiple = 4
        bits = config.attributes.size
        self.generator: nn.Module = config.generator.build(bits=bits, seed=seed)
        self.discriminator: nn.Module = config.discriminator.build(
            bits=bits, matches=self.matches, seed=seed + 1
        )
        self.structure_losses = StructureLosses(config.structure_losses)
        self._groups = tuple(config.attributes.slices.values())
        classes = config.attributes.classes()
        self.register_buffer("classes", classes, persistent=False)
        # of each domain, the bits that some class of it knows: the vendor of a DRR is not to be guessed
        told = torch.stack(
            [((classes >= 0) & (classes[:, domain, None] > 0)).any(dim=0) for domain in (0, 1)]
        )
        self.register_buffer("told", told.to(classes), persistent=False)
        self.players = (
            Player("discriminator", ("discriminator",), config.discriminator_optimizer),
            Player("generator", ("generator",), config.optimizer, every=config.critic_steps),
        )

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """The critic's or the generator's terms (eq. 1-6 of the paper, Wasserstein form of §3.3)."""
        turn: Turn = shared.values.get("turn") or self._deal(batch)
        shared.values["turn"] = turn
        if player.name == "discriminator":
            return self._critic_losses(turn, batch)
        return self._generator_losses(turn, batch)

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        """The images as images of the other domain.

        Args:
            image: of the domain that the direction starts from.
            direction: which way.
            valid, style: without effect.
            attributes: code (C,), (1, C) or (B, C), e.g. of `read_attributes`; None: the first (commonest)
                class of the domain that the direction leads to.

        Raises:
            UsageError: `attributes` is no code of this method.
        """
        code = self.read_attributes({}, direction) if attributes is None else attributes
        codes = spread_code(code, image, size=self.attributes.size)
        translated: Tensor = self.generator(image, codes)
        return translated

    def way(self, direction: Direction) -> Way:
        """The generator, whose code also says which way."""
        return Way(self.generator, code="attributes", code_size=self.attributes.size)

    def read_attributes(self, values: Mapping[str, str], direction: Direction) -> Float[Tensor, " C"]:
        """Code that translations in this direction are to have; see `stargan_codes.choose_code`.

        Raises:
            UsageError: a name or value that the method was not trained with.
        """
        domain: Domain = "target" if direction == "source-to-target" else "source"
        return choose_code(self.attributes, domain, values)

    def _deal(self, batch: Batch) -> Turn:
        """Both domains' images; their own codes in random order are the targets."""
        turn = self._both_domains(batch)
        order = torch.randperm(turn.code.shape[0], generator=batch.host).to(turn.code.device)
        return _with_target(turn, turn.code[order])

    def _both_domains(self, batch: Batch) -> Turn:
        """The source's images and then the target's, without targets yet."""
        codes = []
        for domain, image, code in (
            ("source", batch.source, batch.source_attributes),
            ("target", batch.target, batch.target_attributes),
        ):
            known = self.attributes.encode({"domain": domain}) if code is None else code
            codes.append(known.to(image).expand(image.shape[0], -1))
        code, valid = torch.cat(codes), torch.cat([batch.source_valid, batch.target_valid])
        image = torch.cat([batch.source, batch.target])
        labelled = not self.attributes.groups
        return Turn(image, valid, share_area(valid, groups=2), code, code, labelled=labelled)

    def _critic_losses(self, turn: Turn, batch: Batch) -> dict[str, Tensor]:
        config = self.config
        with torch.no_grad():
            translated = self.generator(turn.image, turn.target)
        real, real_area = self._show(turn.image, turn.area, batch)
        translated, translated_area = self._show(translated, turn.area, batch)
        of_real: Judgement = self.discriminator(real, real_area, turn.pairs and turn.pairs[0])
        of_translated: Judgement = self.discriminator(translated, translated_area)
        wrong = _mean_score(of_translated, translated_area) - _mean_score(of_real, real_area)
        losses = {"adversarial": config.adversarial * wrong}
        if config.penalty:
            both = real_area * translated_area
            losses["penalty"] = config.penalty * gradient_penalty(
                lambda points: self._penalised_score(points, both),
                mix(real, translated, batch.device),
            )
        if self._classifies(turn):
            losses["class"] = config.classification * self._label_distance(of_real, turn.code)
        return losses | self._match_terms(of_real, turn.pairs)

    def _penalised_score(self, image: Tensor, area: Tensor) -> Tensor:
        """What is to have slope 1: the sum or the mean of each image's patches."""
        judged: Judgement = self.discriminator(blacken(image, area), area)
        if self.config.penalty_scores == "sum":
            return judged.realness
        return masked_mean_per_image(judged.realness, _patch_area(judged, area))

    def _generator_losses(self, turn: Turn, batch: Batch) -> dict[str, Tensor]:
        config = self.config
        translated: Tensor = self.generator(turn.image, turn.target)
        shown, area = self._show(translated, turn.area, batch)
        judged: Judgement = self.discriminator(
            shown, area, turn.translated_pairs and turn.translated_pairs[0]
        )
        losses = {
            "adversarial": -config.adversarial * _mean_score(judged, area),
            "class": config.classification * self._label_distance(judged, turn.target),
        }
        losses |= self._match_terms(judged, turn.translated_pairs)
        if config.reconstruction:
            own, counted = self._own_code(turn)
            distance = (self.generator(translated, own) - turn.image).abs()
            weight = turn.valid * counted[:, None, None, None]
            losses["reconstruction"] = config.reconstruction * masked_mean(distance, weight)
        return losses | self._structure_terms(turn, translated, batch)

    def _own_code(self, turn: Turn) -> tuple[Float[Tensor, "N C"], Float[Tensor, " N"]]:
        """Codes to reconstruct with, and 1 for each image that is to be reconstructed."""
        everyone = torch.ones(turn.code.shape[0]).to(turn.code)
        if turn.labelled:
            return turn.code, everyone
        told = turn.code[:, :2].clamp(min=0) @ self.told.to(turn.code) > 0
        missing = told & (turn.code < 0)
        if self.config.unlabelled_reconstruction == "none":
            return turn.code, (~missing.any(dim=1)).to(turn.code)
        with torch.no_grad():
            read: Judgement = self.discriminator(blacken(turn.image, turn.area), turn.area)
        filled = fill_unknown(turn.code, read.bits, self._groups, self.config.label_loss)
        return torch.where(missing, filled, turn.code), everyone

    def _structure_terms(self, turn: Turn, translated: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Of every image asked for, whatever its target: anatomy stays where it is under any code."""
        both, pairs = self.config.structure_losses_on == "both", {}
        if turn.mixed:
            image, valid = turn.image, turn.valid
            if not both:
                of_source = turn.code[:, 0] > 0
                image, translated, valid = image[of_source], translated[of_source], valid[of_source]
            if image.shape[0]:
                pairs["labelled"] = TranslationPair(image, translated, None, valid)
        else:
            forward, back = translated.chunk(2)
            pairs["source"] = TranslationPair(batch.source, forward, batch.source_mask, batch.source_valid)
            if both:
                pairs["target"] = TranslationPair(batch.target, back, None, batch.target_valid)
        return self.structure_losses.terms(pairs, batch.step // self.config.critic_steps)

    def _classifies(self, turn: Turn) -> bool:
        """Whether the critic learns from what is known of these images."""
        return True

    def _match_terms(
        self, judged: Judgement, pairs: tuple[Int[Tensor, "P 2"], Int[Tensor, " P"]] | None
    ) -> dict[str, Tensor]:
        """Nothing: no images are compared."""
        return {}

    def _label_distance(self, judged: Judgement, code: Tensor) -> Tensor:
        return label_distance(judged.bits, code, self._groups, self.config.label_loss)

    def _show(self, image: Tensor, area: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the critic sees: black outside the area, and augmented where that is on."""
        return present(image, area, self.config.augmentation, batch.device)


def share_area(valid: Float[Tensor, "N 1 H W"], *, groups: int) -> Float[Tensor, "N 1 H W"]:
    """The part that is valid in all groups, of the images in the same place of each."""
    joint = valid.unflatten(0, (groups, -1)).prod(dim=0)
    return joint.repeat(groups, 1, 1, 1)


def _with_target(turn: Turn, target: Float[Tensor, "N C"]) -> Turn:
    return Turn(turn.image, turn.valid, turn.area, turn.code, target, turn.labelled, turn.mixed)


def _mean_score(judged: Judgement, area: Tensor) -> Float[Tensor, ""]:
    return masked_mean(judged.realness, _patch_area(judged, area))


def _patch_area(judged: Judgement, area: Tensor) -> Float[Tensor, "N 1 h w"]:
    """How much of each patch is judged."""
    rows, columns = judged.realness.shape[-2:]
    return nn.functional.adaptive_avg_pool2d(area, (rows, columns))
