"""Sleeps once for a given number of seconds."""

import sys
import time

time.sleep(float(sys.argv[1]))
