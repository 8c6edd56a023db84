"""The loss inside other frameworks: one file each, imported only when it is used."""
