"""Run folders with the weights that a training starts from: enough to translate and to export."""

from pathlib import Path
from typing import Any

import torch

from medi2i.adaptation import AdaptConfig
from medi2i.image import IntensityMap
from medi2i.training.checkpoint import Checkpoint, mark_best, save_checkpoint

GENERATOR = {"width": 4, "blocks": 1}
JUDGE = {"width": 2, "layers": 1, "norm": "none"}
ATTRIBUTES = {
    "groups": {"view": ["PA", "lateral"], "vendor": ["a", "b"]},
    "sensible": [["source", "PA", None], ["target", "PA", "a"], ["target", "lateral", "b"]],
}
# untrained, they would paint black and white without what they keep of the image
MUNIT = {
    "generator": GENERATOR | {"style_size": 3, "mlp_width": 16, "residual_output": True},
    "discriminator": {"width": 2, "layers": 1},
}
ADAPTERS: dict[str, dict[str, Any]] = {
    "cyclegan": {"generator": GENERATOR, "discriminator": JUDGE},
    "munit": MUNIT,
    "unit": {"generator": GENERATOR | {"residual_output": True}, "discriminator": {"width": 2, "layers": 1}},
    "opgan": {
        "generator": GENERATOR | {"residual_output": True, "full_resolution_skip": True},
        "discriminator": JUDGE,
        "siamese": {"width": 2, "blocks": 1},
    },
    "matchgan": {
        "generator": GENERATOR,
        "discriminator": {"width": 2, "layers": 2},
        "attributes": ATTRIBUTES,
    },
    "stargan": {
        "generator": GENERATOR | {"conditioning": "concat", "upsample": "resize_conv"},
        "discriminator": {"width": 2, "layers": 2},
        "attributes": ATTRIBUTES,
    },
    "cut": {
        "generator": GENERATOR | {"downsample": "antialiased", "upsample": "antialiased"},
        "discriminator": JUDGE,
        "layers": [0, 4],
    },
    "pix2pix": {},
    "tone": {
        "predictor": {"width": 4, "seen_px": 16},
        "discriminator": JUDGE,
        "tone_discriminator": JUDGE,
        "window_px": 16,
        "tone_factor": 1,
    },
    "histogram": {},
}
INTENSITIES = {"source": IntensityMap(0.1, 0.85), "target": IntensityMap(0.05, 0.9)}


def make_run(folder: Path, method: str, *, working_size: int | None = 48) -> Path:
    """The folder, with one checkpoint of a method whose weights are drawn; tone's heads are not zero."""
    config = AdaptConfig.model_validate(
        {
            "adapter": {"name": method} | ADAPTERS[method],
            "data": {"working_size": working_size, "crop_size": 32},
        }
    )
    adapter = config.adapter.build(seed=3)
    if method == "tone":  # an untrained one changes nothing
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for head in (adapter.predictor.tone_head, adapter.predictor.detail_head):
                head.weight.normal_(0, 0.5, generator=generator)
    facts = {
        "adapter": config.adapter.model_dump(mode="json"),
        "data": config.data.model_dump(mode="json"),
        "intensities": {name: mapping.to_dict() for name, mapping in INTENSITIES.items()},
    }
    checkpoints = folder / "checkpoints"
    save_checkpoint(checkpoints, Checkpoint(0, dict(adapter.state_dict()), {}, {}, {}, facts))
    mark_best(checkpoints, 0)
    return folder
