"""Pure: what the changes have led to, and what may be changed."""
