"""Equivariant diffusion for molecules (EDM, arXiv 2203.17003) and its faster descendants."""
