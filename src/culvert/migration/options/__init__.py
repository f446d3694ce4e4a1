"""What was asked of a migration, what it travels with, and whether that can be: parameters, cookies, checks. Pure."""
