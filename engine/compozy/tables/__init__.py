"""The rule-table engine: read, verify, compile and evaluate decision tables; knows nothing of settings."""
