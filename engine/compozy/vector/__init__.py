"""Vector stores: their protocol and records, independent of the engine behind a store."""
