"""Knowledge bases: documents in chunks, found by vectors and words together."""
