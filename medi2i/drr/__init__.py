"""Digitally reconstructed radiographs: geometry, rendering, detector physics, and the analytic phantom."""
