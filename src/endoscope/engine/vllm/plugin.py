"""What vLLM loads in each of its processes (entry point `vllm.general_plugins`)."""


def register() -> None:
    """Take hold of vLLM in this process.

    Raises:
        RuntimeError: it is a version that this was not written for.
    """
    import vllm
    from vllm.triton_utils import HAS_TRITON

    from endoscope.engine.vllm.seams import VERSION, frontend, runner_v1, scheduler

    if not vllm.__version__.startswith(f"{VERSION}."):
        raise RuntimeError(
            f"Endoscope works with vLLM {VERSION}, and this is {vllm.__version__}: install "
            f"vllm=={VERSION}.*, or set VLLM_PLUGINS to leave Endoscope out."
        )
    for seam in (runner_v1, scheduler, frontend):
        seam.take_hold()
    if HAS_TRITON:  # which the V2 runner needs
        from endoscope.engine.vllm.seams import runner_v2

        runner_v2.take_hold()
