"""Print the names of the environment as the extract of a document; run in the place of a reader."""

import json
import os
import sys

if __name__ == "__main__":
    found = {"text": " ".join(os.environ), "title": None, "places": {"unit": "line", "starts": [0]}}
    sys.stdout.write(json.dumps(found))
