"""One backend a module; drivers get resolved values and never read configuration."""
