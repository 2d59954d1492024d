"""What everybody must know of links of one use (nautilus/auth/links.py): plain values."""

GOOD_FOR_S = 60
PARAMETER = "link"
"""The parameter of the address that holds the secret."""
MAX_SECRET = 100
"""Characters of it that are looked at."""
