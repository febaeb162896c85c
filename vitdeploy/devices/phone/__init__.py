"""Android phones: Google's benchmark_model on them, and what it needs there."""
