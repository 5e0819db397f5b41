"""`metadata.json` and `inference.json` of an exported bundle."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from medi2i.exporters.subject import Subject

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
_PARTS = "medi2i.exporters"


def bundle_metadata(subject: Subject) -> dict[str, Any]:
    """What MONAI's schema asks for, and under `medi2i` everything else that belongs to the network.

    `required_packages_version` names medi2i: reading radiographs as they are, and bringing them back to
    their own matrix and depth, is its code.
    """
    facts = subject.facts()
    multiple = facts["size_multiple"]
    channel = {
        "type": "image",
        "format": "magnitude",
        "modality": "X-ray",
        "num_channels": 1,
        "spatial_shape": [f"{multiple}*n", f"{multiple}*n"],
        "dtype": "float32",
        "value_range": [-1, 1],
        "is_patch_data": False,
    }
    return {
        "schema": _SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported from step {facts['step']}"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {"medi2i": facts["medi2i"], "safetensors": _version("safetensors")},
        "name": f"medi2i {subject.method}, {subject.direction}",
        "task": "translation of radiographs between the looks of two domains",
        "description": f"Changes the look of a radiograph, {subject.direction}, by '{subject.method}'",
        "authors": "whoever trained the run",
        "copyright": "not stated",
        "intended_use": "research: training images for segmenters; not for diagnosis",
        "network_data_format": {
            "inputs": {"image": channel | {"channel_def": {"0": "radiograph, bone bright"}}},
            "outputs": {"pred": channel | {"channel_def": {"0": "translated radiograph"}}},
        },
        "medi2i": facts,
    }


def bundle_inference(subject: Subject) -> dict[str, Any]:
    """How MONAI builds and runs it: `dataset_dir` and `output_dir` are the two to give."""
    facts = subject.facts()
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "checkpoint": "$@bundle_root + '/models/model.pt'",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/translated'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "style": None,
        "attributes": None,
        "network_def": {
            "_target_": f"{_PARTS}.TranslationNetwork",
            "adapter": subject.adapter,
            "direction": subject.direction,
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "LoadImaged",
                    "keys": "image",
                    "reader": {"_target_": "medi2i.io.reader.RadiographReader"},
                    "ensure_channel_first": True,
                },
                {
                    "_target_": f"{_PARTS}.ToNetworkd",
                    "keys": "image",
                    "intensity": facts["input_intensity"],
                    "working_size": facts["working_size"],
                    "size_multiple": facts["size_multiple"],
                },
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": {"_target_": f"{_PARTS}.list_images", "folder": "@dataset_dir"},
            "transform": "@preprocessing",
        },
        "inferer": {
            "_target_": f"{_PARTS}.TranslationInferer",
            "style": "@style",
            "attributes": "@attributes",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": f"{_PARTS}.FromNetworkd",
                    "keys": "pred",
                    "intensity": facts["output_intensity"],
                },
                {
                    "_target_": f"{_PARTS}.SaveRadiographd",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "method": subject.method,
                },
            ],
        },
        "evaluator": {
            "_target_": f"{_PARTS}.TranslationEvaluator",
            "device": "@device",
            "dataset": "@dataset",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "initialize": [
            "$@network_def.load_state_dict(torch.load(@checkpoint, map_location='cpu', weights_only=True))"
        ],
        "run": ["$@evaluator.run()"],
    }


def _version(package: str) -> str:
    return metadata.version(package)
