import pytest

from dagwidget.server.auth.access import Access, bearer
from dagwidget.server.auth.grant import Grant


@pytest.mark.parametrize("token", [None, "", "s", "secret ", "Secret", "secret\x00", "sécret", "\ud800"])
def test_only_the_token_itself_is_good(token):
    assert Access("secret").authorize(token) is None
    assert Access("sécret!").authorize(token) is None


@pytest.mark.parametrize("token", ["secret", "sécret", "x" * 1000])
def test_who_knows_the_token_has_every_right(token):
    assert Access(token, user="ana").authorize(token, "dag") == Grant(role="publish", user="ana")


@pytest.mark.parametrize("token", [None, "", "anything"])
def test_where_there_is_no_token_anybody_is_let_in(token):
    assert Access(None).authorize(token).role == "publish"


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer secret", "secret"),
        ("bearer  secret ", "secret"),
        ("token secret", "secret"),
        ("Basic c2VjcmV0", None),
        ("Bearer", None),
        ("Bearer  ", None),
        ("secret", None),
        ("", None),
        (None, None),
    ],
)
def test_a_token_is_read_from_its_header(header, token):
    assert bearer(header) == token


@pytest.mark.parametrize("host", ["localhost", "localhost:8899", "127.0.0.1:1", "[::1]", "[::1]:8899", "LocalHost:80"])
def test_this_machine_may_be_called_by_its_own_names(host):
    assert Access("secret").refuse_host(host) is None


@pytest.mark.parametrize(
    "host", [None, "", "[", "example.org", "localhost.example.org", "127.0.0.1.nip.io", "localhost@example.org"]
)
def test_another_name_is_refused_with_how_to_allow_it(host):
    assert "--allow-host" in Access("secret").refuse_host(host)


def test_a_name_that_was_allowed_and_no_other_is_let_in():
    access = Access("secret", hosts=["dag.example.org"])
    assert access.refuse_host("dag.example.org:443") is None
    assert Access("secret", hosts=["Dag.Example.org"]).refuse_host("dAG.example.ORG:443") is None
    assert "--allow-host other.example.org" in access.refuse_host("other.example.org")


@pytest.mark.parametrize(
    ("origin", "host", "let_in"),
    [
        (None, "localhost", True),
        ("http://localhost:8888", "127.0.0.1:1", True),
        ("https://127.0.0.1", "localhost", True),
        ("https://hub.example.org", "localhost", True),
        ("https://dag.example.org:8899", "dag.example.org:8899", True),
        ("https://dag.example.org:8899", "dag.example.org:1", False),
        ("http://hub.example.org", "localhost", False),
        ("https://evil.example.org", "localhost", False),
        ("file://localhost", "localhost", False),
        ("vscode-webview://localhost", "localhost", False),
        ("null", "localhost", False),
        ("", "", False),
        ("http://[", "localhost", False),
        ("http://localhost@evil.example.org", "localhost", False),
    ],
)
def test_pages_of_this_machine_of_this_server_and_those_allowed_are_let_in(origin, host, let_in):
    refusal = Access("secret", origins=["https://hub.example.org"]).refuse_origin(origin, host)
    assert (refusal is None) == let_in
    assert let_in or "--allow-origin" in refusal
