"""The demo: real programs run beside a careless tracer, are recorded, and a notebook tells what that cost."""
