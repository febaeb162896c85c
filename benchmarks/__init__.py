"""Time artifacts on a device: every raw sample kept, in fresh processes, under a stated protocol."""
