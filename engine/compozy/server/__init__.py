"""The HTTP interface: routes, access control, limits, and the process that serves it."""
