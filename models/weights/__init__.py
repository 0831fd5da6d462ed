"""Shipped weights: NAME.safetensors + NAME.json, read and written here. No pickles, ever."""
