"""Write the schemas, reference pages, samples and pictures that derive from registry, rules, commands and routes."""
