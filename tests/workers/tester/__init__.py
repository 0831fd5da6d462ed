"""A model family only for tests: no network, known results, and failures on demand."""
