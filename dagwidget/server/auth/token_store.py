"""`Tokens`: the tokens that were given out, in a folder that knows only their hashes."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ...challenge import key_of
from ...errors import DagwidgetError
from ...protocol import Role

_log = logging.getLogger("dagwidget")

_PREFIX: Final = "dagw_"
_ID_DIGITS: Final = 8


class Token(Struct, frozen=True, kw_only=True):
    """A token that was given out. The secret itself is not kept: with 256 random bits, its hash needs no salt."""

    name: str
    """Whose it is: who decided, in the audit trail."""
    role: Role
    sha256: str
    created_at: int
    """Unix milliseconds, as is `expires_at`."""
    expires_at: int | None = None
    dag_id: str | None = None
    """The only DAG that it is for; every DAG when absent."""

    @property
    def id(self) -> str:
        """What names it in lists."""
        return self.sha256[:_ID_DIGITS]


class Tokens:
    """A folder of tokens, a file each. What another process gives out or takes back there counts at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # By path; with what the file looked like when it was read.
        self._read: dict[Path, tuple[int, Token | None]] = {}

    def find(self, secret: str) -> Token | None:
        """The token with this secret. How long it takes says something of the hash only, which nobody can steer."""
        digest = key_of(secret)
        token = self._load(self._path(digest))
        return token if token is not None and token.sha256 == digest else None

    def with_id(self, token_id: str) -> Token | None:
        """The token with this id."""
        path = next(iter(self.folder.glob(f"{token_id}*.json")), None)
        return None if path is None else self._load(path)

    def all(self) -> list[Token]:
        """The tokens, the newest last; what is no token in the folder is left out, and the log says so."""
        found = [self._load(path) for path in sorted(self.folder.glob("*.json"))]
        return sorted((token for token in found if token is not None), key=lambda token: token.created_at)

    def create(
        self, name: str, role: Role, *, now: int, expires_at: int | None = None, dag_id: str | None = None
    ) -> tuple[Token, str]:
        """Give out a token; returns it and its secret, which nobody will know again.

        Raises:
            DagwidgetError: the folder can't be written to.
        """
        secret = _PREFIX + secrets.token_urlsafe(32)
        token = Token(name=name, role=role, sha256=key_of(secret), created_at=now, expires_at=expires_at, dag_id=dag_id)
        path = self._path(token.sha256)
        aside = path.with_suffix(".new")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(token), indent=1))
            aside.rename(path)
        except OSError as error:
            raise DagwidgetError(f"can't write a token to {self.folder}: {error}") from error
        return token, secret

    def revoke(self, token_id: str) -> Token:
        """Take a token back, by its id.

        Raises:
            DagwidgetError: there is no such token, or the folder can't be written to.
        """
        tokens = self.all()
        found = next((token for token in tokens if token.id == token_id), None)
        if found is None:
            known = ", ".join(token.id for token in tokens) or "none"
            raise DagwidgetError(f"there is no token {token_id!r} in {self.folder}; there are: {known}")
        try:
            self._path(found.sha256).unlink()
        except OSError as error:
            raise DagwidgetError(f"can't remove a token from {self.folder}: {error}") from error
        return found

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"

    def _load(self, path: Path) -> Token | None:
        try:
            changed = path.stat().st_mtime_ns
            if (known := self._read.get(path)) is not None and known[0] == changed:
                return known[1]
            self._read[path] = (changed, None)
            token = msgspec.json.decode(path.read_bytes(), type=Token)
        except (FileNotFoundError, NotADirectoryError):
            self._read.pop(path, None)
            return None
        except (OSError, msgspec.MsgspecError) as error:
            # Whoever can't be told from a stranger is one.
            _log.error("the token in %s can't be read, and is not good: %s", path, error)
            return None
        self._read[path] = (changed, token)
        return token
