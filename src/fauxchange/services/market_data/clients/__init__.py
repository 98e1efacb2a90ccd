"""Where prices come from besides the model: recorded data, a live push, a fixed path."""
