"""Model server engines: what each calls its flags, endpoints and gauges. One module an engine."""
