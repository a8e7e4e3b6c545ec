"""Write JSON Schemas of configuration files and of resolved configurations."""
