"""Rule tables of Compozy: data only, read through `importlib.resources`."""
