"""The store: a session is a folder with a manifest and one folder of parts for each table."""
