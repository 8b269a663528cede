"""A Kubernetes API server in one process, for laptops and tests: `python -m lab.apiserver --help`.

Real kubectl and the Python clients work against it. It serves the kinds of `data/kinds.yaml` and any
CustomResourceDefinition: discovery, OpenAPI v3, tables, lists with pages, watches with bookmarks, JSON,
merge, strategic merge and apply patches, field ownership, schemas with CEL rules, dry runs, finalizers,
preconditions, service-account tokens and RBAC. `POST /lab/faults` breaks it on purpose (`faults.py`).

It does not: run controllers (beyond emptying deleted namespaces and kinds), call webhooks, convert
between versions of custom kinds, aggregate cluster roles, prevent the escalation of roles, keep
container logs, answer in protobuf, or know CEL's optional types and `cel.bind`.
"""
