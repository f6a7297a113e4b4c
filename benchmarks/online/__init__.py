"""Online experiments on simulated users: what intervals, looks, plans, interleaving and counterfactuals are worth."""
