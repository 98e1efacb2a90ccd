"""A gateway's way to the kernel process: `connection` talks to it, `replica` knows what it told, `gateway` asks it."""
