"""Compozy: declarative workflows on Temporal, provisioned by rule tables.

Importing this package costs nothing that is not used: the public names are loaded on first access.
"""

from __future__ import annotations

__version__ = "0.1.0"
