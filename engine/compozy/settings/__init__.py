"""What may be set, and who set it."""
