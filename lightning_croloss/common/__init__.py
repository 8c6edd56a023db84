"""What all folders share: files, manifests, checks, products of matrices. Imports nothing from above."""
