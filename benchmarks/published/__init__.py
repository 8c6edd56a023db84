"""Published leave-one-out tables of Beauty and Toys, and our models under their protocol."""
