"""Large language models: endpoints, local models, prompts and answer parsing."""
