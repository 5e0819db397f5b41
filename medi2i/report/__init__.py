"""One self-contained HTML page from `results.json`, without torch; matplotlib only once a figure is drawn."""

from medi2i.report.description import describe
from medi2i.report.page import write_report
from medi2i.report.runs import write_comparison

__all__ = ["describe", "write_comparison", "write_report"]
