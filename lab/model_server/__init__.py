"""A simulated vLLM server: the HTTP interface and the metrics of the real one, no model behind it.

Answers are made up, token counts are characters divided by a constant and durations come from a
timing model with seeded noise. `/version` says `"simulated": true`.
"""
