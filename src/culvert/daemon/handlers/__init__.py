"""What each procedure does: a few lines from the call's arguments to the driver or the migration, and back.

One module a group, one class a module; its ``register`` is the table of what it serves.
"""
