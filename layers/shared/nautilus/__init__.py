"""The rules and the outside world of the Nautilus backend, shared by functions and bridge."""
