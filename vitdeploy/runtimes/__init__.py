"""Runtimes: one file an engine, each loads an artifact behind the same four verbs."""
