"""What a migration asks of whatever runs the guest: values, and the contract that a driver fulfils. Pure."""
