"""Seconds and memory that preparing a table of one's own takes."""
