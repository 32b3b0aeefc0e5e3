"""Tables in, tables out: what the numbers mean. Nothing here draws, prints or writes.

Every table says in `attrs["units"]` what its columns are counted in, and in `attrs["about"]` what it is.
Times are seconds since the recording began.
"""
