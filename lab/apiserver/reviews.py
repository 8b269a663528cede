"""Kinds that are questions: may I, who am I, whose token is this."""

from __future__ import annotations

from .auth import Tokens, User
from .resources import Resource
from .schema import Object
from .subresources import Review


def answers(tokens: Tokens) -> dict[str, Review]:
    """The answer to each kind of question, as the status of its object."""

    def may_i(resource: Resource, namespace: str, asked: Object, user: User) -> Object:
        return {"allowed": True}

    def who_am_i(resource: Resource, namespace: str, asked: Object, user: User) -> Object:
        return {"userInfo": user.info()}

    def whose_token(resource: Resource, namespace: str, asked: Object, user: User) -> Object:
        found = tokens.users().get(asked["spec"].get("token", ""))
        return {"authenticated": True, "user": found.info()} if found else {"user": {}}

    return {
        "SelfSubjectAccessReview": may_i,
        "SubjectAccessReview": may_i,
        "LocalSubjectAccessReview": may_i,
        "SelfSubjectRulesReview": may_i,
        "SelfSubjectReview": who_am_i,
        "TokenReview": whose_token,
    }
