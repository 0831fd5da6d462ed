"""Surjective, stochastic and bijective layers under one contract (arXiv 2007.02731)."""
