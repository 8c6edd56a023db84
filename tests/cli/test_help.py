"""The help of the trainer's commands, and of the classes that a config names."""

from __future__ import annotations
