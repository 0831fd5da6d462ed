"""The mathematics: networks, densities, samplers, weights and training. Importing this package is light."""
