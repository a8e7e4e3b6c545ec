"""The records of a workflow: the definition, its input, ids of executions; nothing is read or run here."""
