"""Generators, discriminators and their parts: tensors in, tensors out."""
