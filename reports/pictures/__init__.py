"""Pictures: overlays of predictions, contact sheets."""
