"""What derives from the registry and the rules: schemas, reference pages and samples."""
