"""Redaction of messages before they are kept, and the count of tokens."""

from __future__ import annotations

import pytest
from fakeredis import FakeRedis
from tests.memory.clients import memory

from compozy.memory.memories import Memories
from compozy.memory.memory_definition import MemoryDefinition
from compozy.memory.redaction_patterns import RedactionPatterns
from compozy.memory.token_estimate import count_tokens
from compozy.settings.redact import Redactor


def test_matches_are_replaced_in_every_text_before_anything_is_stored() -> None:
    client = FakeRedis()
    chat = memory(client, redact=(r"\b\d{4}-\d{4}\b", "(?i)iban [a-z0-9]+"))
    chat.append("k", {"content": {"card 1234-5678": ["IBAN DE99", 12345678, None], "n": "1-2"}})
    [found] = chat.read("k").messages
    assert found.content == {"card [REDACTED]": ["[REDACTED]", 12345678, None], "n": "1-2"}
    stored = str(client.hvals("compozy:memory:shop:chat:entries:k"))
    assert "1234-5678" not in stored
    assert "DE99" not in stored


def test_secrets_of_the_configuration_are_not_stored() -> None:
    client = FakeRedis()
    hide = Redactor(["s3cr3t-value"]).known
    chat = Memories(lambda: client, [MemoryDefinition("chat")], "p", hide).memory("chat")
    chat.append("k", {"content": "the key is s3cr3t-value, see https://a/?token=free"})
    assert chat.read("k").messages[0].content == "the key is [REDACTED], see https://a/?token=free"


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)*b", r"^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_backtracking_patterns_take_linear_time(pattern: str) -> None:
    text = "a" * 300_000 + "!"
    assert RedactionPatterns((pattern,), str).apply(text) == text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("éé", 1), ("ééé", 2), ("渡轮", 2), ("😀", 2), ("a é 渡 😀", 5)],
)
def test_tokens_are_estimated_from_the_bytes_of_each_character(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens
