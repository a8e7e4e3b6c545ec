"""Keep what Compozy writes in a project: undo log, file lock, state directory, presence of a running server."""
