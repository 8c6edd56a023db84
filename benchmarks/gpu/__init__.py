"""What only a GPU can settle: correctness (tests/gpu) and speed, see README.md and run.sh."""
