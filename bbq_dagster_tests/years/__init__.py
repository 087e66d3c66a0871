"""Years of days in a simulated estate: what the product did is compared with a model of what is true."""
