"""Who is asking: users by bearer token."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"


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


class Tokens:
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
