"""The repositories in memory: for tests, for stub mode, and for what embedded mode keeps nowhere else."""
