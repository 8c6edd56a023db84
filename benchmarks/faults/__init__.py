"""Jobs that are ended at random, and what they leave."""
