"""What Triton compiles. Every module here needs it: they are imported where a kernel is to run, no sooner."""
