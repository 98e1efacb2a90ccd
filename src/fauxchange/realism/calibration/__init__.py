"""Calibration: the parameters of the price model from recorded prices."""
