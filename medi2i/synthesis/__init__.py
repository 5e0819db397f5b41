"""`medi2i synthesize`: labelled, gated, traceable sets of synthetic radiographs, as tools take them."""

from medi2i.synthesis.job import SynthesizeResult, synthesize
from medi2i.synthesis.rendering import render_sources
from medi2i.synthesis.settings import SynthesizeConfig

__all__ = ["SynthesizeConfig", "SynthesizeResult", "render_sources", "synthesize"]
