"""A module that cannot be imported."""

limit = int("many")


class Shop:
    """Never reached."""
