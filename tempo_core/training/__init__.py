"""Training: from a plan and its pairs to a chain of adapters. Needs torch; only jobs come here, by name."""
