"""Reads a given number of times, 4093 bytes each: a size that nothing else reads."""

import os
import sys

zero = os.open("/dev/zero", os.O_RDONLY)
for _ in range(int(sys.argv[1])):
    os.read(zero, 4093)
