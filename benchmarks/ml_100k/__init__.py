"""The first honest table: architectures × losses on MovieLens-100k, see protocol.py."""
