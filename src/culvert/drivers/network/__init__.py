"""The virtual networks of this host: a bridge each, rules, and a server for names and addresses."""
