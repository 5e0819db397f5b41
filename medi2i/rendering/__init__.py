"""`medi2i drr`: CT volumes with organ labels become a labelled data set folder of DRRs."""

from medi2i.rendering.job import RenderResult, parse_shard, render_drrs
from medi2i.rendering.settings import DRRConfig, choose_framing, read_structures

__all__ = ["DRRConfig", "RenderResult", "choose_framing", "parse_shard", "read_structures", "render_drrs"]
