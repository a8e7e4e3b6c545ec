"""Run executions: the interpreter on Temporal, its activities, tools and the worker."""
