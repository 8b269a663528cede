"""The lab's model server held against a real vLLM: `python -m bench.conformance`, see docs/conformance.md."""
