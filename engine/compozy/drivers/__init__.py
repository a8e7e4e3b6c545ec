"""One backend a module; drivers get resolved values and never read configuration."""

import logging

logging.getLogger("compozy").addHandler(logging.NullHandler())  # silent unless the user configures logging
