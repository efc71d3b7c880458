"""The time and the imports of `import plasticity_jax`, measured in its own process."""

import json
import statistics
import subprocess
import sys

# Processor time, not wall-clock time: other tests run at the same time.
PROBE = """
import json, sys, time
import jax
start = time.process_time()
import plasticity_jax
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""
HEAVY = {"matplotlib", "tqdm", "orbax", "tensorflow_datasets", "flax"}


def probe() -> dict:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_is_light():
    probe()  # the first import after an install compiles bytecode
    reports = [probe() for _ in range(3)]
    assert "plasticity_jax" in reports[0]["modules"]
    assert not HEAVY & set(reports[0]["modules"])
    assert statistics.median(report["seconds"] for report in reports) < 0.5
