"""Numbered streams of messages: topics that number and keep them, a hub that fans them out, sockets that carry them."""
