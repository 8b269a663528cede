"""Kubernetes objects: what they are called, whose they are, whether they are ready."""
