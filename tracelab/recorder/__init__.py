"""The recorder: everything that needs this kernel, root and BCC."""
