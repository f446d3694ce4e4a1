"""``<network>``: the definition of a virtual network: read, checked, changed in part, written."""
