"""The environment of all tests, set before the settings are read: a plugin, not a conftest.

A data folder of their own, and no Redis and no database of anybody else.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp(prefix="at-"))  # Short: a Unix socket's path has 107 characters
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

os.environ["AUTOTUNER_DATA_DIR"] = str(FOLDER / "data")
os.environ["GPUPOOL_INVENTORY"] = "simulated:4"
os.environ["AUTOTUNER_NODE"] = "testnode"
for name in ("REDIS_URL", "DATABASE_URL", "DEBUG", "AUTOTUNER_HTTPS"):
    os.environ.pop(name, None)
