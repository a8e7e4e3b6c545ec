"""Credentials and keys that are short, or travel unprotected."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.project import findings

from compozy.settings.endpoint import endpoint

DB = "mode: distributed\ntemporal: {{mode: memory}}\nredis: {{mode: memory}}\ndatabase: {{{}}}"
REDIS = "redis: {{mode: distributed, {}}}"
TEMPORAL = "temporal: {{mode: remote, {}}}"
STORE = "knowledge: {{vector_dbs: [{{id: a, {}}}]}}"
MODEL = "models: [{{id: a, provider: openai, model: m, {}}}]"


@pytest.mark.parametrize(
    ("address", "local", "password", "protection"),
    [
        ("postgres://me:pw@db/shop", False, True, "unstated"),
        ("postgres://me:pw@db/shop?sslmode=require", False, True, "unverified"),
        ("postgres://me:pw@db/shop?sslmode=prefer", False, True, "clear"),
        ("postgres://me@db/shop?password=pw&sslmode=verify-full", False, True, "verified"),
        ("postgres://me:pw@localhost,db/shop", False, True, "unstated"),
        ("postgres://me:pw@localhost:1,[::1]:2/shop", True, True, "none"),
        ("postgres:///shop?host=/run/pg", True, False, "none"),
        ("postgres:///shop?host=db", False, False, "unstated"),
        ("host=db password='a b' sslmode=disable", False, True, "clear"),
        ("host=/run/pg", True, False, "none"),
        ("redis://cache", False, False, "clear"),
        ("rediss://:pw@cache:1/0", False, True, "verified"),
        ("rediss://cache?ssl_cert_reqs=none", False, False, "unverified"),
        ("rediss://cache?ssl_cert_reqs=CERT_NONE", False, False, "unverified"),
        ("rediss://cache?ssl_check_hostname=False", False, False, "unverified"),
        ("unix:///run/redis.sock", True, False, "none"),
        ("redis://me:p@ss@127.0.0.1", True, True, "none"),
        ("", True, False, "none"),
        ("://", True, False, "none"),
        ("http://[", False, False, "clear"),
    ],
)
def test_endpoint_reads_hosts_password_and_protection(
    address: str, local: bool, password: bool, protection: str
) -> None:
    found = endpoint(address)
    assert (found.is_local, found.has_password, found.protection) == (local, password, protection)
    assert "pw" not in repr(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(DB.format("host: db, password: x"), ["database.password.unprotected"], id="prefer"),
        pytest.param(
            DB.format("host: db, password: x, ssl_mode: require"), ["database.password.unprotected"], id="must"),
        pytest.param(DB.format("host: db, password: x, ssl_mode: verify-full"), [], id="verified"),
        pytest.param(DB.format("host: db"), [], id="no-password"),
        pytest.param(DB.format("password: x"), [], id="this-machine"),
        pytest.param(DB.format("host: /run/postgresql, password: x"), [], id="socket"),
        pytest.param(DB.format("url: 'postgres://me:pw@db/x?sslmode=disable'"), ["database.url.unprotected"], id="url"),
        pytest.param(
            DB.format("url: 'postgres://me:pw@db/x'"), ["database.url.unprotected-by-ssl_mode"], id="url-prefer"),
        pytest.param(DB.format("url: 'postgres://me:pw@db/x', ssl_mode: verify-ca"), [], id="url-and-mode"),
        pytest.param(
            DB.format("url: 'postgres://localhost/x?sslmode=prefer', ssl_mode: verify-full"), ["database.url.weaker"],
            id="weaker",
        ),
        pytest.param(DB.format("url: 'postgres://localhost/x?sslmode=disable'"), [], id="weaker-than-default"),
        pytest.param(
            DB.format("url: 'postgres://localhost/x?sslmode=verify-full', ssl_mode: require"), [], id="stricter"),
        pytest.param(REDIS.format("host: cache, password: x"), ["redis.password.clear"], id="redis"),
        pytest.param(REDIS.format("host: cache, password: x, tls: true"), [], id="redis-tls"),
        pytest.param(REDIS.format("password: x"), [], id="redis-this-machine"),
        pytest.param(REDIS.format("url: 'redis://:pw@cache'"), ["redis.url.clear"], id="redis-url"),
        pytest.param(
            REDIS.format("url: 'redis://cache', password: x"), ["redis.password.clear-to-url"], id="redis-both"),
        pytest.param(REDIS.format("url: 'redis://:pw@cache', tls: true"), [], id="redis-url-tls"),
        pytest.param(
            REDIS.format("url: 'rediss://cache?ssl_cert_reqs=none'"), ["redis.url.unverified"], id="unverified"),
        pytest.param(
            TEMPORAL.format("host_port: 'cloud:7233', api_key: x, tls: {enabled: false}"), ["temporal.api_key.clear"],
            id="temporal",
        ),
        pytest.param(TEMPORAL.format("host_port: 'cloud:7233', api_key: x"), [], id="temporal-default"),
        pytest.param("server: {api_key: short}", ["server.api_key.short"], id="short-key"),
        pytest.param("server: {host: 0.0.0.0, api_key: 0123456789abcdef}", ["server.api_key.clear"], id="open"),
        pytest.param(
            STORE.format("provider: qdrant, url: 'http://db', api_key: x"), ["vector_store.api_key.clear-to-url"],
            id="qdrant-url"),
        pytest.param(STORE.format("provider: qdrant, url: 'http://db', api_key: x, tls: true"), [], id="qdrant-tls"),
        pytest.param(STORE.format("provider: qdrant, url: 'http://localhost', api_key: x"), [], id="qdrant-here"),
        pytest.param(STORE.format("provider: qdrant, url: 'http://db'"), [], id="qdrant-no-key"),
        pytest.param(
            STORE.format("provider: qdrant, host: db, api_key: x"), ["vector_store.api_key.clear"], id="qdrant-host"),
        pytest.param(STORE.format("provider: qdrant, port: 6333, api_key: x"), [], id="qdrant-default-host"),
        pytest.param(
            STORE.format("provider: redis, url: 'redis://:pw@db'"), ["vector_store.url.unprotected"], id="store-redis"),
        pytest.param(
            STORE.format("provider: redis, url: 'rediss://db?ssl_cert_reqs=none', password: x"),
            ["vector_store.password.unprotected-to-url"], id="store-redis-unverified"),
        pytest.param(
            STORE.format("provider: redis, host: db, password: x"), ["vector_store.redis.password.clear"],
            id="store-redis-host"),
        pytest.param(STORE.format("provider: redis, host: 127.0.0.1, password: x"), [], id="store-redis-here"),
        pytest.param(
            STORE.format("provider: pgvector, url: 'postgres://me:pw@db/x'"),
            ["vector_store.url.unprotected"], id="pgvector"),
        pytest.param(
            STORE.format("provider: pgvector, url: 'postgres://me:pw@db/x?sslmode=require'"),
            ["vector_store.url.unprotected"], id="pgvector-unverified"),
        pytest.param(
            STORE.format("provider: pgvector, url: 'postgres://me:pw@db/x?sslmode=verify-full'"), [], id="pgvector-ok"),
        pytest.param(
            STORE.format("provider: pgvector, host: db, password: x, ssl_mode: require"),
            ["vector_store.pgvector.password.unprotected"], id="pgvector-host"),
        pytest.param(STORE.format("provider: pgvector"), [], id="pgvector-of-the-database"),
        pytest.param(
            STORE.format("provider: redis, url: 'rediss://:pw@db', tls: false"), ["vector_store.url.unprotected"],
            id="store-redis-tls-off"),
        pytest.param(
            STORE.format("provider: redis, url: 'rediss://:pw@db?ssl_cert_reqs=none', tls: true"),
            ["vector_store.url.unprotected"], id="store-redis-tls-unverified"),
        pytest.param(
            STORE.format("provider: redis, url: 'redis://:pw@db?ssl_cert_reqs=none', tls: true"),
            ["vector_store.url.unprotected"], id="store-redis-tls-on-unverified"),
        pytest.param(
            STORE.format("provider: redis, url: 'redis://:pw@localhost', host: db"), ["vector_store.url.unprotected"],
            id="store-redis-host-wins"),
        pytest.param(
            STORE.format("provider: redis, url: 'redis://:pw@db', host: localhost"), [], id="store-redis-host-is-here"),
        pytest.param(
            STORE.format("provider: pgvector, url: 'postgres://me:pw@db/x?sslmode=verify-full', ssl_mode: disable"),
            ["vector_store.url.unprotected"], id="pgvector-ssl-mode-weakens"),
        pytest.param(
            STORE.format("provider: pgvector, url: 'postgres://me:pw@db/x?sslmode=disable', tls: true"),
            ["vector_store.url.unprotected"], id="pgvector-has-no-tls"),
        pytest.param(
            STORE.format("provider: pgvector, url: 'postgres://me:pw@db/x?sslmode=require', ssl_mode: verify-full"), [],
            id="pgvector-ssl-mode-strengthens"),
        pytest.param(
            REDIS.format("url: 'redis://:pw@cache?ssl_cert_reqs=none', tls: true"), ["redis.url.unverified"],
            id="redis-tls-on-unverified"),
        pytest.param(MODEL.format("url: 'http://ai/v1', api_key: x"), ["model.api_key.clear"], id="model"),
        pytest.param(MODEL.format("url: 'http://127.0.0.1:1/v1', api_key: x"), [], id="model-here"),
        pytest.param(MODEL.format("api_key: x"), [], id="model-default"),
    ],
)  # fmt: skip
def test_unprotected_credentials_are_findings(text: str, expected: list[str], tmp_path: Path) -> None:
    transport = [one for one in findings(tmp_path, text) if one.row.startswith("validate.transport")]
    assert [one.id for one in transport] == expected
    assert [one.id for one in transport if one.severity == "error"] == [id for id in expected if id.endswith("weaker")]


def test_weaker_sslmode_is_an_error_through_any_source(tmp_path: Path) -> None:
    found = findings(
        tmp_path,
        "mode: distributed\ndatabase: {ssl_mode: verify-full}",
        environment={"DB_URL": "postgres://localhost/x?sslmode=allow"},
    )
    assert ("database.url.weaker", "error") in [(one.id, one.severity) for one in found]
