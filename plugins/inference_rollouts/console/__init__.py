"""The console: where rollouts are, why, and what next, as pages in Airflow's own web server."""
