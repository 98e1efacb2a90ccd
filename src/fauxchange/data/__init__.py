"""The data adapter: every repository of the venue, and the only place that knows a database driver."""
