"""Operator times: what explains the difference between two files."""
