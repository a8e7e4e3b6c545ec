"""Read workflow files: from text or JSON to checked records, all findings at once."""
