"""Full Bayes by sampling: the explicit model, the No-U-Turn sampler, its draws and what they say of themselves."""
