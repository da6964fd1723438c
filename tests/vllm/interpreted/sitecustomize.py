"""Lets vLLM's V2 model runner run on a CPU: its Triton kernels by Triton's own interpreter.

vLLM's CPU build has that runner, and wants a Triton with a backend for CPUs, which package indexes
do not have. Under `TRITON_INTERPRET=1` none is needed; this says that there is one. Python imports
this file at start-up, in each process of vLLM, where its folder is on `PYTHONPATH`.
"""

from types import SimpleNamespace

from triton.backends import backends

backends.setdefault(
    "cpu", SimpleNamespace(driver=SimpleNamespace(is_active=lambda: False), compiler=None)
)
