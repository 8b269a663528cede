"""Who is asking: users by bearer token, from a file or signed for a service account."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.apiserver.storage.store import Store

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"
ISSUER = "https://kubernetes.default.svc"


@dataclass(frozen=True)
class User:
    """A user with the groups that access rules may name."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()

    @property
    def is_master(self) -> bool:
        return MASTERS in self.groups

    def info(self) -> dict[str, object]:
        out: dict[str, object] = {"username": self.name, "groups": list(self.groups)}
        return {**out, "uid": self.uid} if self.uid else out


ANONYMOUS = User("system:anonymous", groups=(UNAUTHENTICATED,))


def account_user(namespace: str, name: str, uid: str) -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{name}", uid, groups)


class TokenFile:
    """The file `tokens`: a line a token, `token,user,uid,"group,group"`; read anew when it changes."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "tokens"
        self._stamp = 0
        self._users: dict[str, User] = {}
        if not self.path.exists():
            self.path.touch(mode=0o600)
            self.path.write_text(f'{secrets.token_urlsafe(24)},admin,admin,"{MASTERS}"\n')

    def admin(self) -> str:
        """The token of a user who may do everything."""
        return next(token for token, user in self.users().items() if user.is_master)

    def users(self) -> dict[str, User]:
        stamp = self.path.stat().st_mtime_ns
        if stamp != self._stamp:
            self._stamp = stamp
            self._users = dict(_parse(line) for line in self.path.read_text().splitlines() if line.strip())
        return self._users


def _parse(line: str) -> tuple[str, User]:
    token, name, uid, groups = [*(part.strip() for part in line.split(",", 3)), "", ""][:4]
    named = [group.strip() for group in groups.strip('"').split(",") if group.strip()]
    return token, User(name, uid, (*named, AUTHENTICATED))


class AccountTokens:
    """Tokens of service accounts: JSON web tokens that this server signs and alone can check."""

    def __init__(self, directory: Path, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.clock = clock
        path = directory / "accounts.key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(secrets.token_bytes(32))
        self._key = path.read_bytes()

    def issue(self, namespace: str, name: str, uid: str, seconds: int, audiences: list[str]) -> str:
        now = int(self.clock())
        claims = {
            "aud": audiences or [ISSUER],
            "exp": now + seconds,
            "iat": now,
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
        }
        signed = f"{_pack({'alg': 'HS256', 'typ': 'JWT'})}.{_pack(claims)}"
        return f"{signed}.{self._sign(signed)}"

    def user(self, token: str) -> User | None:
        """The account that a token was issued for, if token and account are still good."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, self._sign(signed)):
            return None
        claims = json.loads(_unpack(signed.partition(".")[2]))
        about = claims["kubernetes.io"]
        name, uid = about["serviceaccount"]["name"], about["serviceaccount"]["uid"]
        entry = self.store.get("serviceaccounts", about["namespace"], name)
        if claims["exp"] < self.clock() or entry is None or entry.object()["metadata"]["uid"] != uid:
            return None
        return account_user(about["namespace"], name, uid)

    def _sign(self, text: str) -> str:
        return _encode(hmac.new(self._key, text.encode(), hashlib.sha256).digest())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _pack(document: Any) -> str:
    return _encode(json.dumps(document, separators=(",", ":")).encode())


def _unpack(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Authenticator:
    """Finds the user of a token."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.file = TokenFile(directory)
        self.accounts = AccountTokens(directory, store)

    def user(self, token: str) -> User | None:
        return self.file.users().get(token) or (self.accounts.user(token) if token.count(".") == 2 else None)
