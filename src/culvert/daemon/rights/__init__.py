"""Who may do what: the rights that a policy gives, who asks, and the record of what was asked."""
