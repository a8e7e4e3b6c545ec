"""Back up the data that components keep on this machine, and restore it."""
