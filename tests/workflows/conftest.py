"""Fixtures of the workflow tests."""

from tests.workflows.bench import bench, database, loop, skipping, store, timed

__all__ = ["bench", "database", "loop", "skipping", "store", "timed"]
