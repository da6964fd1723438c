"""The OpenAI-compatible server on an open model, and what it shares with the scrubbing proxy."""
