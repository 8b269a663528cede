"""The endpoint picker: for each request of a pool it chooses the pod and, by rewrites, the model."""
