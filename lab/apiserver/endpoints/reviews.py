"""Kinds that are questions: may I, may he, who am I, whose token is this."""

from __future__ import annotations

from lab.apiserver.access.auth import AUTHENTICATED, Authenticator, User
from lab.apiserver.access.rbac import Action, Authorizer
from lab.apiserver.endpoints.subresources import Review
from lab.apiserver.errors import bad_request
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.types.schema import Object


def answers(authenticator: Authenticator, authorizer: Authorizer) -> dict[str, Review]:
    """The answer to each kind of question, as the status of its object."""

    def may_i(resource: Resource, namespace: str, asked: Object, user: User) -> Object:
        return _verdict(authorizer, user, asked["spec"])

    def may_they(resource: Resource, namespace: str, asked: Object, user: User) -> Object:
        spec = asked["spec"]
        attributes = spec.get("resourceAttributes")
        if namespace and (attributes or {}).get("namespace") != namespace:
            raise bad_request("spec.resourceAttributes.namespace must be the namespace of the request")
        groups = (*(spec.get("groups") or ()), AUTHENTICATED)
        return _verdict(authorizer, User(spec.get("user", ""), spec.get("uid", ""), groups), spec)

    def my_rules(resource: Resource, namespace: str, asked: Object, user: User) -> Object:
        if not asked["spec"].get("namespace"):
            raise bad_request("no namespace on request")
        rules = authorizer.rules(user, asked["spec"]["namespace"])
        paths = [rule for rule in rules if rule.get("nonResourceURLs")]
        others = [rule for rule in rules if not rule.get("nonResourceURLs")]
        return {"resourceRules": others, "nonResourceRules": paths, "incomplete": False}

    def who_am_i(resource: Resource, namespace: str, asked: Object, user: User) -> Object:
        return {"userInfo": user.info()}

    def whose_token(resource: Resource, namespace: str, asked: Object, user: User) -> Object:
        owner = authenticator.user(asked["spec"].get("token", ""))
        if owner is None:
            return {"user": {}, "error": "invalid bearer token"}
        return {"authenticated": True, "user": owner.info()}

    return {
        "SelfSubjectAccessReview": may_i,
        "SubjectAccessReview": may_they,
        "LocalSubjectAccessReview": may_they,
        "SelfSubjectRulesReview": my_rules,
        "SelfSubjectReview": who_am_i,
        "TokenReview": whose_token,
    }


def _verdict(authorizer: Authorizer, user: User, spec: Object) -> Object:
    about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (about is None) == (path is None):
        raise bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
    if path is not None:
        action = Action(verb=path.get("verb", ""), path=path.get("path", "/"))
    else:
        assert about is not None
        names = ("verb", "group", "resource", "subresource", "name", "namespace")
        action = Action(**{name: about.get(name, "") for name in names})
    return {"allowed": authorizer.allows(user, action)}
