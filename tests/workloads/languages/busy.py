"""Burns some seconds of CPU in calls, and in what the standard library has in C."""

import hashlib
import json
import re
import sys
import time


def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


until = time.process_time() + float(sys.argv[1])
total = 0
while time.process_time() < until:
    total += fib(14)
    total += len(json.loads(json.dumps({str(i): [i] * 3 for i in range(500)})))
    total += len(re.sub(r"(\d+)", lambda m: m[1] * 2, "a1b22c333" * 50))
    total += len(sorted(hashlib.sha256(str(i).encode()).hexdigest() for i in range(200)))
print(total)
