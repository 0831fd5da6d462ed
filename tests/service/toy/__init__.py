"""A model family only for tests: it gives well-known molecules, and some broken ones, without a network."""
