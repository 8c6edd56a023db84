"""Configs: where each field comes from, what is wrong with it, and the sentence that says so."""
