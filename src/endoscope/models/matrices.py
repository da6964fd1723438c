"""The matrices of a model, and which of them write to a site with nothing between."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from endoscope.errors import InputError
from endoscope.models.adapters import lora_factors
from endoscope.models.loading import LoadedModel
from endoscope.models.sites import Site


class Matrix(NamedTuple):
    """A matrix that a vector is multiplied by, or a table of which a row is taken.

    Attributes:
        name: of it within the model: the path of its module, or of the parameter where experts
            share one.
        weight: `[out, in]`, or `[experts, out, in]`: a view, without what an adapter adds. Of a
            table, `[out, rows]`.
        bias: `[out]`, a view, if it has one.
        factors: what an adapter adds to it, `[out, r]` and `[r, in]`, if one does.
        table: whether a row is taken of it: an embedding.
    """

    name: str
    weight: Tensor
    bias: Tensor | None = None
    factors: tuple[Tensor, Tensor] | None = None
    table: bool = False

    @property
    def whole(self) -> Tensor:
        """The weight with what an adapter adds, float64."""
        weight = self.weight.double()
        if self.factors is None:
            return weight
        outer, inner = self.factors
        return weight + outer.double() @ inner.double()


def matrix_at(module: nn.Module, name: str) -> Matrix:
    """Return a matrix of a model by its name.

    Raises:
        AttributeError: there is none.
        InputError: an adapter does to it what cannot be read from it.
    """
    held: Any = module
    for part in name.split("."):
        held = getattr(held, part)
    if isinstance(held, nn.Parameter):  # experts share one
        return Matrix(name, held.data)
    plain = getattr(held, "base_layer", held)
    if isinstance(plain, nn.Embedding):
        if plain is not held:
            raise InputError(
                "An adapter changes the embedding.", "Merge it into the weights, and give those."
            )
        return Matrix(name, plain.weight.data.T, table=True)
    upright = isinstance(plain, nn.Linear)  # GPT-2 has them lying
    weight = plain.weight.data if upright else plain.weight.data.T
    bias = plain.bias.data if plain.bias is not None else None
    return Matrix(name, weight, bias, lora_factors(held))


def untie(module: Any) -> None:
    """Give the unembedding a matrix of its own, where it shares that of the embedding."""
    head, table = module.get_output_embeddings(), module.get_input_embeddings()
    if head is not None and head.weight is table.weight:
        head.weight = nn.Parameter(table.weight.clone(), requires_grad=False)
        module.config.tie_word_embeddings = False


def writers(loaded: LoadedModel, site: Site) -> list[Matrix]:
    """Return the matrices that write to a site: its value is what they give, or the sum of it.

    Args:
        loaded: the model.
        site: `attn_out`, `mlp_out`, or `resid_pre.0`, which embeddings write to.

    Raises:
        InputError: no matrix, or more than matrices, decides the value there; names the nearest
            site at which they do.
    """
    module, anatomy = loaded.module, loaded.anatomy
    anatomy.check(site)
    names = {one: name for name, one in module.named_modules()}
    if site.kind == "resid_pre" and site.layer == 0:
        if anatomy.stream == "post_norm_encoder":
            raise InputError(
                f"a norm stands between the embedding and {site}.",
                "Nearest that is exact: attn_out.0 or mlp_out.0; or keep it live.",
            )
        return [matrix_at(module, names[table]) for table in anatomy.embeddings]
    if site.kind in ("resid_pre", "resid_mid", "resid_post"):
        raise InputError(
            f"{site} is the sum of all that was written before it, and no matrix writes that.",
            f"Nearest that is exact: attn_out.{site.layer} or mlp_out.{site.layer}; to ablate, "
            "resid_pre.0 with every attn_out and mlp_out, that is, on the whole stream.",
        )
    if anatomy.stream in ("sandwich_norm", "post_norm"):
        raise InputError(
            f"a norm stands between the matrices of {anatomy.family} and {site}.",
            "Nothing at this site is exact as weights: keep it live.",
        )
    attention, *mlp = anatomy.architecture.writers
    block = names[anatomy.blocks.get_submodule(str(site.layer))]
    found = []
    for path in [attention] if site.kind == "attn_out" else mlp:
        try:
            found.append(matrix_at(module, f"{block}.{path}"))
        except AttributeError:  # a block has some of them
            continue
    if not found:
        raise InputError(f"which matrices write to {site} is not known.", "Keep it live.")
    return found
