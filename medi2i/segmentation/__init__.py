"""A small segmenter: trained on images with masks, it judges translations and films."""

from medi2i.segmentation.choice import SegmenterChoice, segment_image
from medi2i.segmentation.folder import segment_folder
from medi2i.segmentation.framing import choose_crop_framing
from medi2i.segmentation.prediction import Segmenter, load_segmenter
from medi2i.segmentation.settings import SegmenterConfig, default_segmenter
from medi2i.segmentation.training import train_segmenter

__all__ = [
    "Segmenter",
    "SegmenterChoice",
    "SegmenterConfig",
    "choose_crop_framing",
    "default_segmenter",
    "load_segmenter",
    "segment_folder",
    "segment_image",
    "train_segmenter",
]
