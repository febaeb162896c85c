"""The paper's tables and figure 4: published numbers, reproduction, attention study."""
