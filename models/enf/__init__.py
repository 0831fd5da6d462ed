"""Equivariant normalizing flows for molecules (E-NF, arXiv 2105.09016), exact densities by continuous flows."""
