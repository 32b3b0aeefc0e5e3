"""Views: tables in, something to see out. A module per view, its JavaScript and style beside it.

Every view is a value: it is returned, never shown; it draws itself in a live notebook, in a saved one
without kernel or network, and as text in a terminal.
"""
