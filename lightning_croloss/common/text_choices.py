"""What can be chosen about the text of tables; in a module of its own, as the command line lists it first."""

#: What to do with lines of another number of fields.
RAGGED = ("error", "drop")
#: What quotes mean.
QUOTES = ("auto", "fields", "text")

__all__ = ["QUOTES", "RAGGED"]
