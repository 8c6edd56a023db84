"""Serving: latency of single requests, and what approximate indexes lose."""
