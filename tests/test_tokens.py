"""Tokens that were given out: kept hashed, with their rights, and taken back at once."""

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dagwidget.errors import DagwidgetError
from dagwidget.server.auth.access import Access
from dagwidget.server.auth.grant import Grant
from dagwidget.server.auth.token_store import Tokens

NOW = 1_000_000


@pytest.fixture
def tokens(tmp_path):
    return Tokens(tmp_path / "new" / "folder")


@pytest.fixture
def access(tokens):
    return Access("the server's own", user="ana", tokens=tokens)


def test_a_token_gives_its_holder_its_role_until_it_expires(tokens, access):
    _, secret = tokens.create("ben", "operate", now=NOW, expires_at=NOW + 10)
    grant = access.authorize(secret, "any dag")
    assert grant == Grant(role="operate", user="ben", expires_at=NOW + 10)
    assert not grant.is_over(NOW + 9)
    assert grant.is_over(NOW + 10)


def test_a_token_for_one_dag_is_good_for_no_other(tokens, access):
    _, secret = tokens.create("ben", "view", now=NOW, dag_id="mine")
    assert access.authorize(secret, "mine").role == "view"
    assert access.authorize(secret, "mine/too") is None
    # To list what it is for.
    assert access.authorize(secret).role == "view"


def test_the_servers_own_token_is_good_beside_them(tokens, access):
    tokens.create("ben", "view", now=NOW)
    assert access.authorize("the server's own", "dag").user == "ana"


@pytest.mark.parametrize("role", ["view", "operate", "publish"])
def test_each_role_permits_itself_and_those_before_it(role):
    roles = ["view", "operate", "publish"]
    permitted = [needed for needed in roles if Grant(role=role, user="ana").permits(needed)]
    assert permitted == roles[: roles.index(role) + 1]


def test_the_secret_is_nowhere_in_a_folder_that_only_its_owner_reads(tokens):
    _, secret = tokens.create("ben", "view", now=NOW)
    (path,) = tokens.folder.iterdir()
    assert secret.removeprefix("dagw_") not in path.name + path.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(tokens.folder.stat().st_mode) == 0o700


def test_secrets_are_long_and_never_the_same(tokens):
    secrets = {tokens.create("ben", "view", now=NOW)[1] for _ in range(50)}
    assert len(secrets) == 50
    assert min(map(len, secrets)) >= 43


def test_what_another_process_gives_out_or_takes_back_counts_at_once(tokens, access):
    token, secret = tokens.create("ben", "view", now=NOW)
    assert access.authorize(secret, "dag")
    Tokens(tokens.folder).revoke(token.id)
    assert access.authorize(secret, "dag") is None
    _, other = Tokens(tokens.folder).create("cem", "view", now=NOW)
    assert access.authorize(other, "dag").user == "cem"
    for path in tokens.folder.iterdir():
        path.unlink()
    assert access.authorize(other, "dag") is None


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff", b'{"name": "ben", "role": "everything"}'])
def test_a_damaged_token_is_not_good_and_the_log_says_so_once(tokens, access, caplog, damage):
    token, secret = tokens.create("ben", "view", now=NOW)
    (path,) = tokens.folder.iterdir()
    path.write_bytes(damage)
    _, other = tokens.create("cem", "view", now=NOW)
    for _ in range(3):
        assert access.authorize(secret, "dag") is None
    assert caplog.text.count(str(path)) == 1
    assert access.authorize(other, "dag").user == "cem"
    assert token not in tokens.all()


def test_a_token_under_the_name_of_another_is_not_good(tokens, access):
    tokens.create("ben", "publish", now=NOW)
    (bens,) = tokens.folder.iterdir()
    _, secret = tokens.create("cem", "view", now=NOW)
    (cems,) = [path for path in tokens.folder.iterdir() if path != bens]
    cems.write_bytes(bens.read_bytes())
    assert access.authorize(secret, "dag") is None


def test_a_folder_that_can_not_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DagwidgetError, match="can't write a token"):
        Tokens(tmp_path / "file" / "tokens").create("ben", "view", now=NOW)


def test_a_token_that_is_not_there_can_not_be_taken_back(tokens):
    with pytest.raises(DagwidgetError, match="there are: none"):
        tokens.revoke("12345678")
    token, _ = tokens.create("ben", "view", now=NOW)
    with pytest.raises(DagwidgetError, match=token.id):
        tokens.revoke("12345678")


def test_of_many_tokens_the_right_one_is_found(tokens):
    given = dict(tokens.create(f"user {i}", "view", now=NOW) for i in range(20))
    for token, secret in given.items():
        assert tokens.find(secret) == token
    for stranger in ("", "dagw_", "\ud800", next(iter(given)).sha256):
        assert tokens.find(stranger) is None


def test_tokens_given_out_at_the_same_time_are_all_kept(tokens):
    with ThreadPoolExecutor(8) as pool:
        given = [*pool.map(lambda i: tokens.create(f"user {i}", "view", now=time.time_ns()), range(40))]
    assert {token for token, _ in given} == set(tokens.all())
