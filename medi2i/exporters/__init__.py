"""A trained run as what other tools take: MONAI bundle, ONNX, torch.export."""

from medi2i.exporters.bundle_parts import (
    FromNetworkd,
    SaveRadiographd,
    ToNetworkd,
    TranslationEvaluator,
    TranslationInferer,
    list_images,
)
from medi2i.exporters.job import ExportResult, Target, export
from medi2i.exporters.network import TranslationNetwork

__all__ = [
    "ExportResult",
    "FromNetworkd",
    "SaveRadiographd",
    "Target",
    "ToNetworkd",
    "TranslationEvaluator",
    "TranslationInferer",
    "TranslationNetwork",
    "export",
    "list_images",
]
