"""Pictures in, pictures out: photographs, postprocessing, label names."""
