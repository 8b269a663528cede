"""Chaos: whatever dies or errs, at whatever moment of a rollout, its traffic ends where it should.

A cell is a fault that strikes at a moment. It says beforehand how the rollout must end, and is played with
real processes in a lab: Airflow, the guardian under its own ServiceAccount, clients. `make chaos` plays all.
"""
