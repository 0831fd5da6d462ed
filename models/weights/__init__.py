"""Shipped weights, NAME.safetensors beside NAME.json, read and written here. No pickles, ever."""

from models.weights.files import load_model, save_model

__all__ = ["load_model", "save_model"]
