"""The training loop and what keeps it safe: checkpoints, averages, interruption, progress."""
