"""The task types, one module each; a task reaches Temporal through the interface in `engine` only."""
