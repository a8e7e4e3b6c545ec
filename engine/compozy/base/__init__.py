"""Functions that every other package may use; the bottom layer, which imports nothing of Compozy."""
