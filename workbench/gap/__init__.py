"""From one estimator to another, cause by cause."""
