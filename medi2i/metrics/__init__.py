"""Metrics: pure functions of arrays; undefined is NaN unless a docstring says otherwise."""
