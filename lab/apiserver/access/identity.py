"""The user behind a request: the one of its token, or the one whom he may stand in for."""

from __future__ import annotations

from multidict import CIMultiDictProxy

from lab.apiserver.access.auth import ANONYMOUS, AUTHENTICATED, Authenticator, User
from lab.apiserver.access.rbac import Action, Authorizer
from lab.apiserver.errors import ApiError

ACCOUNT = "system:serviceaccount:"


def user_of(headers: CIMultiDictProxy[str], authenticator: Authenticator, authorizer: Authorizer) -> User:
    """Who sends no token is anonymous. Raises ApiError: 401 for a token that is not valid, 403 for
    impersonating whom the user may not."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    bears = scheme.lower() == "bearer" and token.strip()
    user = authenticator.user(token.strip()) if bears else ANONYMOUS
    if user is None:
        raise ApiError(401, "Unauthorized", "Unauthorized")
    if "Impersonate-User" not in headers:
        return user
    return _impersonated(headers, user, authorizer)


def _impersonated(headers: CIMultiDictProxy[str], user: User, authorizer: Authorizer) -> User:
    name = headers["Impersonate-User"]
    groups = tuple(headers.getall("Impersonate-Group", ()))
    if name.startswith(ACCOUNT) and name.count(":") == 3:
        namespace, account = name.split(":")[2:]
        where = {"resource": "serviceaccounts", "name": account, "namespace": namespace}
        implied: tuple[str, ...] = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    else:
        where = {"resource": "users", "name": name}
        implied = ()
    authorizer.demand(user, Action("impersonate", **where))
    for group in groups:
        authorizer.demand(user, Action("impersonate", resource="groups", name=group))
    return User(name, "", tuple(dict.fromkeys((*(groups or implied), AUTHENTICATED))))
