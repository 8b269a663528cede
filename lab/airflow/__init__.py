"""Airflow beside the lab, from this checkout: run, asked as a person would ask it, with rights of its own."""
