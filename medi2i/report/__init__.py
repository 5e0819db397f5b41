"""One self-contained HTML page from `results.json`; neither torch nor matplotlib is imported before it is drawn."""

from medi2i.report.description import describe
from medi2i.report.page import write_report

__all__ = ["describe", "write_report"]
