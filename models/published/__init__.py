"""Checkpoints as their authors published them, converted into weights and cards of ours."""
