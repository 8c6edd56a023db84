"""What the temperature of a loss does to cosines and to dot products."""
