"""The `endoscope` object on vLLM's own server (`vllm serve`); see docs/vllm.md."""
