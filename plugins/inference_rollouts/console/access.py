"""Who may see and do what: Airflow's own users and permissions, asked in each route.

An app that is mounted inherits no protection of Airflow's. So the app itself asks for a user, each route for
a permission on its DAG, and whoever is not known, or not allowed, gets nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, HTTPException, Request, status

User = Annotated[BaseUser, Depends(get_user)]
SAFE = frozenset({"GET", "HEAD"})
OURS = "x-inference-rollouts"
"""A header that only our own page can send: of others' the browser asks first, and is refused."""


def own_page(request: Request) -> None:
    """Refuses what another site's page could have sent with a person's cookie."""
    if request.method not in SAFE and OURS not in request.headers:
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"The header {OURS} is missing.")


def may(method: Literal["GET", "PUT"]) -> Any:
    """A dependency: the user may see (GET), or edit (PUT), runs of the DAG `dag_id` of the path."""
    allowed: Callable[..., None] = requires_access_dag(method, DagAccessEntity.RUN)
    return Depends(allowed)


def seen_by(user: BaseUser) -> Collection[str]:
    """The ids of the DAGs that a user may see."""
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET")


def edited_by(user: BaseUser) -> Collection[str]:
    """The ids of the DAGs whose runs a user may edit."""
    return get_auth_manager().get_authorized_dag_ids(user=user, method="PUT")
