"""A local inference cluster: Kubernetes API, controllers, simulated model servers, Envoy, Prometheus."""
