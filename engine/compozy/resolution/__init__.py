"""Read the sources, resolve every setting by the rule tables, and validate the result."""
