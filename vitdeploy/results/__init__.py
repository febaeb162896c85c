"""What was measured and what it means: records, statistics, verdicts, baselines, history."""
