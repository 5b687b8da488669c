"""Is this engine up, and is it really this one that answers?"""

import http.client
from collections.abc import Collection

from experiments.processes import listens

ANSWER_WITHIN = 2.0  # seconds


def is_healthy(port: int, path: str, pids: Collection[int]) -> bool:
    """The health path answers 200, and one of our own processes is the one that listens.

    The second half matters: another server's answer on the same port would look just as good.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN)
    try:
        connection.request("GET", path)
        if connection.getresponse().status != 200:
            return False
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return listens(port, pids)
