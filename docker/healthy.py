"""Exit status 0 if a component of Airflow is healthy: `python healthy.py ADDRESS PATH [COMPONENT]`.

Without COMPONENT a 200 is enough; with it, the answer must call that component healthy. Scheduler and API
server answer for themselves; of the others the API server knows when they last gave a sign of life. Unlike
`airflow jobs check` this does not import Airflow, which takes seconds of CPU time.
"""

import http.client
import json
import sys


def healthy(address: str, path: str, component: str | None = None) -> bool:
    """Raises OSError or HTTPException when nobody answers, ValueError when the answer is no JSON."""
    connection = http.client.HTTPConnection(address, timeout=15)
    connection.request("GET", path)
    answer = connection.getresponse()
    if answer.status != 200 or component is None:
        return answer.status == 200
    status: object = json.load(answer)[component]["status"]
    return status == "healthy"


if __name__ == "__main__":
    sys.exit(0 if healthy(*sys.argv[1:]) else 1)
