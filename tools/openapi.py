"""Write the OpenAPI document of the HTTP interface: `python tools/openapi.py FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from compozy.base.manual import schema_url
from compozy.server.openapi import openapi_document
from compozy.server.routes import ROUTES


def text() -> str:
    """Return the content of the file, which names itself by its URL."""
    document = {**openapi_document(ROUTES), "$id": schema_url("openapi.json")}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
