"""Tables divided by user, of which each process reads its own part."""
