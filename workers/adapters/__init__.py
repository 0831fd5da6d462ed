"""Adapters: the only places where a model family meets the service."""
