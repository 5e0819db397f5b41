"""Similarity of image structure: pure functions that a loss and a metric share."""
