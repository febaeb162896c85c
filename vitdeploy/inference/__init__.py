"""Outputs of an artifact on any device, for accuracy and parity, never for timing."""
