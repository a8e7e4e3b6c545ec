"""A driver that keeps nothing."""


class Shop:
    """Never started."""
