"""How far a migration is, how it will go on, and how long the guest stood still. Pure."""
