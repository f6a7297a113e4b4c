"""The verb `calibrate`: what a model's scores say of the probability of relevance."""
