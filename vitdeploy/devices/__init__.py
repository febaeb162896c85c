"""Devices: how a machine is reached (one file a link) and which machines there are (one TOML each)."""
