"""Take backups of the kept data, and restore them."""
