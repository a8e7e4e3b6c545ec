"""Access to the HTTP interface: clients with the key, and browsers with a session of a one-time link."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from starlette.datastructures import Headers
from tests.server.conftest import Answer, Site

from compozy.server.access import LIFETIME_S, MOST, Access, cookie_name

PORT = 8080
PAGE = "/api/v0/executions"


@pytest.fixture
def browser(site: Site) -> Site:
    """Return the site as a browser without key and session sees it."""
    return replace(site, key=None)


def link(site: Site) -> str:
    """Return the path of a new link."""
    url = str(site.post("/session").json["url"])
    return url.removeprefix(f"http://127.0.0.1:{site.server.port}")


def cookie(answer: Answer) -> str:
    """Return what a browser sends after an answer."""
    return answer.headers["set-cookie"].partition(";")[0]


def test_every_route_but_the_probes_needs_a_key_or_a_session(browser: Site) -> None:
    """Also without a written key: other users of the machine do not have the random one."""
    paths = (PAGE, "/metrics", "/docs", "/openapi.json", "/", "/api/v0/config", "/nowhere")
    assert {browser.get(path).status for path in paths} == {401}
    assert browser.post("/session").status == 401
    assert browser.ask("HEAD", "/session").status == 401
    assert browser.get("/healthz").status == browser.get("/readyz").status == 200


def test_link_opens_one_session_in_a_browser(site: Site, browser: Site) -> None:
    """The cookie is kept from scripts and from requests of other sites; the link works once."""
    path = link(site)
    opened = browser.get(path)

    assert opened.status == 200
    assert re.fullmatch(
        rf"compozy_session_{site.server.port}=\S{{43}}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict",
        opened.headers["set-cookie"],
    )
    assert (opened.headers["cache-control"], opened.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert browser.get(PAGE, Cookie=cookie(opened)).status == 200
    again = browser.get(path)
    assert (again.status, again.json["id"], "set-cookie" in again.headers) == (403, "http.session", False)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Sec-Fetch-Site": "same-origin"}, 200, id="our-page"),
        pytest.param({"Sec-Fetch-Site": "none"}, 200, id="typed"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, 401, id="other-port"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 401, id="other-site"),
        pytest.param({"Host": "evil.example"}, 403, id="rebound-name"),
    ],
)
def test_session_counts_for_requests_of_our_own_pages_only(
    site: Site, browser: Site, headers: dict[str, str], status: int
) -> None:
    """Browsers do not separate cookies by port, so the origin of the request decides as well."""
    session = cookie(browser.get(link(site)))
    assert browser.ask("GET", PAGE, headers={"Cookie": session, **headers}).status == status


def test_page_of_another_origin_cannot_use_a_session(site: Site, browser: Site) -> None:
    """Neither to change something nor to get a new link."""
    headers = {"Cookie": cookie(browser.get(link(site))), "Origin": "http://127.0.0.1:9"}
    assert browser.ask("POST", "/session", headers=headers).status == 403


def admitted(access: Access, session: str) -> bool:
    return access.admits(Headers({"cookie": f"{cookie_name(PORT)}={session}"}), PORT)


def token(access: Access) -> str:
    return access.new_link().partition("=")[2]


def test_links_and_sessions_expire() -> None:
    """After their lifetime, by the clock of the process."""
    now = [0.0]
    access = Access(None, clock=lambda: now[0])
    unused, session = token(access), access.open_session(token(access))
    assert session is not None
    now[0] = LIFETIME_S - 1
    assert admitted(access, session)
    now[0] = LIFETIME_S
    assert not admitted(access, session)
    assert access.open_session(unused) is None


def test_number_of_links_is_bounded() -> None:
    """The oldest one goes first."""
    access = Access(None)
    first, *_, last = [token(access) for _ in range(MOST + 1)]
    assert access.open_session(first) is None
    assert access.open_session(last) is not None


@pytest.mark.parametrize("given", ["", "x", "\udcff", "é"])
def test_guessed_token_opens_nothing(given: str) -> None:
    """With any characters."""
    access = Access("a-key-of-sixteen-characters")
    access.new_link()
    assert access.open_session(given) is None
    assert not admitted(access, given.encode("ascii", "replace").decode())


def test_random_keys_differ_and_a_written_key_is_kept() -> None:
    """Each start has its own."""
    assert Access(None).api_key != Access("").api_key
    assert Access("a-key-of-sixteen-characters").api_key == "a-key-of-sixteen-characters"
