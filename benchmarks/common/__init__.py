"""What the benchmarks share: rows and resumable runs, training, the bootstrap, tables, measuring."""
