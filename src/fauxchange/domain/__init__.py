"""Shared vocabulary: pure values and rules that every part of the venue speaks."""
