"""The services of the venue: vertical slices that know each other only through ports."""
