"""Our models beside RecBole's own, under the same settings."""
