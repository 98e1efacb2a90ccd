"""The exchange as one would write it to be read: lists, dicts and dataclasses, kept for ever beside the fast kernel."""
