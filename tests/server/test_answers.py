"""JSON answers of the server hold no character that a terminal obeys."""

from __future__ import annotations

import json
from http import HTTPStatus

from compozy.base.control import escape_control
from compozy.server.problem_details import SafeJSONResponse, problem

HOSTILE = "\x1b[2J\x9b31m\u202etxt\x7f"


def test_answers_escape_control_characters_and_keep_their_value() -> None:
    for answer in (SafeJSONResponse({"detail": HOSTILE}), problem(HTTPStatus.NOT_FOUND, "not-found", HOSTILE)):
        text = bytes(answer.body).decode()
        assert escape_control(text) == text
        assert json.loads(text)["detail"] == HOSTILE
