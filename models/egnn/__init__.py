"""E(n)-equivariant graph networks (arXiv 2102.09844), dense and sparse, in all variants that Equimol uses."""
