"""Privacy: does a synthetic data set give away the patients that its generator learned from?"""
