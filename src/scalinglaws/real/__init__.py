"""A language model that nobody here trained, on problems that people know: SmolLM2-135M-Instruct on GSM8K."""
