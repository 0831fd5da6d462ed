"""Structures, formats, bonds, checks, metrics and data sets: RDKit and NumPy only."""
