"""Methods x data sets x seeds in one matrix that can be resumed and shared, with one table at its end."""

from medi2i.benchmarks.cells import Cell, State, plan_cells, share_of
from medi2i.benchmarks.matrix import BenchmarkResult, describe_benchmark, run_benchmark
from medi2i.benchmarks.suite import SuiteConfig

__all__ = [
    "BenchmarkResult",
    "Cell",
    "State",
    "SuiteConfig",
    "describe_benchmark",
    "plan_cells",
    "run_benchmark",
    "share_of",
]
