"""What of a cluster is a lab's: the label of what it makes, its namespace, the parts it stands in for."""

LAB = "inference-rollouts.dev/lab"  # the label; its value tells one lab's objects from another's
HOME = "default"
REPLACEABLE = ("controller-manager", "scheduler")  # which a cluster may have of its own
