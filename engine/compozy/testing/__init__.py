"""Helpers and fixtures for testing projects that run on Compozy."""
