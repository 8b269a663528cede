"""The lab's kubelet: runs every pod of every node as simulated processes on the pod's own address."""
