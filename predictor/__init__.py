"""How long a student will take: features, a regressor of latencies, the predictor of a device profile, evaluation."""
