"""Benchmarks of ourselves: run by hand, each prints a table for docs/."""
