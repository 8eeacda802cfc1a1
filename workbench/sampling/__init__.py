"""Full Bayes by sampling: the explicit model, the No-U-Turn sampler, its draws, and everything made from draws."""
