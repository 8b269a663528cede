"""The gateway: Gateway, HTTPRoute and InferencePool objects become the configuration of a real Envoy."""
