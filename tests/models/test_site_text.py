import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.errors import InputError
from endoscope.models import KINDS, Site, parse_sites

SITES = st.builds(Site, kind=st.sampled_from(KINDS), layer=st.integers(0, 10_000))


@given(SITES)
def test_text_form_round_trips(site: Site) -> None:
    assert Site.parse(str(site)) == site


@given(SITES)
def test_hook_names_are_accepted(site: Site) -> None:
    assert Site.parse(f"blocks.{site.layer}.hook_{site.kind}") == site


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resid_post",
        "resid_post.",
        "resid_post.-1",
        "resid_post.1.2",
        "blocks.1.hook_q",
        "x.1",
        " resid_post.1",
    ],
)
def test_what_is_no_site_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(InputError, match=r"kind\.layer"):
        Site.parse(text)


def test_several_sites_keep_their_order_and_lose_repeats() -> None:
    sites = parse_sites("resid_post.3, attn_out.1,resid_post.3")
    assert [str(site) for site in sites] == ["resid_post.3", "attn_out.1"]
    assert parse_sites(sites) == sites
    with pytest.raises(InputError, match="No site"):
        parse_sites([])
