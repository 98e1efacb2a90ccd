"""How real the simulated market is: facts of prices and of books, calibration, reports, generated history."""
