"""How every figure is drawn: matplotlib to inline SVG that takes the page's colours, with words for ears."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH_INCHES = 7.6
# Stand-ins that matplotlib draws with; each becomes the CSS variable of its name.
COLORS = {
    "text": "#010101",
    "rule": "#020202",
    "identity": "#030303",
    "histogram": "#040404",
    "translated": "#050505",
    "band": "#060606",
}
MARKERS = {"identity": "s", "histogram": "D", "translated": "o"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "medi2i",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": COLORS["text"],
    "axes.labelcolor": COLORS["text"],
    "axes.edgecolor": COLORS["rule"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLORS["rule"],
    "ytick.color": COLORS["rule"],
    "xtick.labelcolor": COLORS["text"],
    "ytick.labelcolor": COLORS["text"],
    "legend.frameon": False,
}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure of the page.

    Attributes:
        svg: an `<svg>` element, hidden from assistive technology.
        words: what the figure shows, for who can't see it.
        caption: what it is of, with n and unit.
    """

    svg: str
    words: str
    caption: str


def draw(name: str, height_inches: float, painter: Callable[[Figure], None]) -> str:
    """The `<svg>` element of a figure that `painter` fills, under a name of its own in the page."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        painter(figure)
        stream = io.StringIO()
        FigureCanvasSVG(figure).print_svg(stream, metadata=_NO_METADATA)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for color_name, color in COLORS.items():
        text = text.replace(color, f"var(--{color_name})")
    # ids are unique within a figure only, and a page has several
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    # hidden from assistive technology, which reads the label around it; as wide as the page lets it be
    return re.sub(r'<svg ([^>]*?)height="[^"]*" ', r'<svg aria-hidden="true" \1', text, count=1)
