"""The only code that talks to the cluster, to Prometheus and to model servers."""
