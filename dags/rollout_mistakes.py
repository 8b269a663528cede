"""No DAGs: what is wrong with plans, as an import error that people see above Airflow's list of DAGs.

The file with the DAGs must not fail to import: that would take away the DAGs of all other plans.
"""

from inference_rollouts.dags import require_valid_plans

require_valid_plans()
