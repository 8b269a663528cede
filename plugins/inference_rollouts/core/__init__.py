"""What decides: values in, values out. No I/O, no clock, no Airflow."""
