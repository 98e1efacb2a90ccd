"""The gRPC edge: the server every service's methods are registered with, and its interceptors."""
