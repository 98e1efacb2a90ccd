"""What an order book does from second to second: recorded, simulated, measured, and held against each other."""
