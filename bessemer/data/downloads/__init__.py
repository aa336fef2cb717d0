"""How files come to this machine: fetched whole or not at all, checked, and unpacked within their folder."""
