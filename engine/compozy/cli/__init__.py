"""The command line: parse arguments, call the library, print; it decides nothing about configurations."""
