"""Many devices at once: plans, tasks, trials that are kept, and the pool of workers that runs them."""
