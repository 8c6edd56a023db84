"""``python -m lightning_croloss`` is ``croloss``."""

from lightning_croloss.cli import main

if __name__ == "__main__":
    main()
