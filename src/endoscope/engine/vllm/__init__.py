"""The same reads and writes on vLLM (docs/vllm.md).

`plugin.py` is what vLLM loads in each of its processes; `board.py` is what a worker knows of the
requests it runs; `engine.py` is the engine that users hold. Only `core.py`, `engine.py` and what is
under `seams/` import vLLM.
"""
