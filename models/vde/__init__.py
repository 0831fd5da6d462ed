"""Log-determinants by sampling on the sphere (VDE, arXiv 2012.13311; the estimator itself: arXiv 2005.06553).

Nothing here is trained ahead: a proposal is fitted to each matrix, so the family's card has no weights.
"""
