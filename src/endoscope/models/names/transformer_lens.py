"""TransformerLens hook names, as its users and files write them."""

import re

_KINDS = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
}
_NAME = re.compile(r"blocks\.(\d+)\.(\w+)")


def site_text(hook: str) -> str | None:
    """Return the text form of the site that a hook name means, or None if it means none."""
    match = _NAME.fullmatch(hook)
    if match is None or match[2] not in _KINDS:
        return None
    return f"{_KINDS[match[2]]}.{match[1]}"
