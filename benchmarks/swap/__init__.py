"""One loss into other people's models: Recall with the old loss and with the new, see frameworks.py."""
