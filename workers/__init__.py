"""Jobs: schemas, store and queue (light), adapters and engine (heavy)."""
