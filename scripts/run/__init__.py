"""Starts the stack, and holds what all operator programs share."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
