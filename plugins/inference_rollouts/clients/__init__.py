"""The outside, one module each: no decisions, and no Airflow."""
