"""Plan, start, supervise and examine the components of a validated configuration."""
