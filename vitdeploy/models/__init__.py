"""The models: plain torch modules under the keys of the official checkpoints, one file a family."""
