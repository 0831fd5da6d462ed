"""One training loop for every family: recipe, data, EMA, checkpoints, logs. May import chemistry."""
