"""What a workflow is, as records: the definition, its input, names of executions; nothing is read or run here."""
