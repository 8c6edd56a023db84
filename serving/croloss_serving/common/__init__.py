"""What files and tokens are made of: manifests, checksums, vocabulary, features as numbers."""
