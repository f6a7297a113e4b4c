"""Large language models: endpoints, local models, prompts and the reading of their answers."""
