"""Methods x data sets x seeds in one matrix that can be resumed and shared, with one table at its end."""

from medi2i.benchmarks.cells import Cell, State, describe_suite, plan_cells, share_of
from medi2i.benchmarks.matrix import BenchmarkResult, run_benchmark
from medi2i.benchmarks.suite import SuiteConfig

__all__ = [
    "BenchmarkResult",
    "Cell",
    "State",
    "SuiteConfig",
    "describe_suite",
    "plan_cells",
    "run_benchmark",
    "share_of",
]
