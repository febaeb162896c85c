"""Exporters: turn a model into an artifact, and prove it."""
