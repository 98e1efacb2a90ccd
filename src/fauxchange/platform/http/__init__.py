"""The HTTP edge: the application every service's routes are mounted in, and the server that runs it."""
