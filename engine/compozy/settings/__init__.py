"""Settings: the registry, the sources and their precedence, and the origin of each value."""
