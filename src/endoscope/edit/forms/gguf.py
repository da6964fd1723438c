"""An edit as a GGUF file: the file that the model came from, with what changes written anew."""

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from gguf import GGUFReader, GGUFWriter, Keys, dequantize
from numpy.typing import NDArray
from torch import Tensor

from endoscope.disk import room_for
from endoscope.edit.changes import Change, Changes
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import LoadedModel
from endoscope.models.loading import original
from endoscope.models.matrices import Matrix, matrix_at
from endoscope.models.names.gguf import EMBEDDING, UNEMBEDDING, ordered, tensor_name
from endoscope.sha256 import hash_file

FILE = "model.gguf"


class _Edited(NamedTuple):
    """A tensor of the file, before and after: `now` and `now + added`, in the order of the file."""

    now: Tensor
    added: Tensor


_Anew = Mapping[str, Callable[[], _Edited]]
"""What is written anew, by its name in the file; one is computed at a time, as it is written."""


@torch.no_grad()
def write_gguf(model: Model, changes: Changes, folder: Path) -> Mapping[str, float]:
    """Write an edited model as one GGUF file, `model.gguf`, into a folder that exists.

    The file that the model came from gives all else: what it says of the model, of its tokenizer
    and its chat template, and the tensors that stay, bit for bit in their quantised type. What
    changes is written in float32. The values of a quantised tensor lie on a grid, those of an edit
    between its points: quantised again, they would be rounded by more than many an edit changes.

    Args:
        model: that is edited; it stays as it is.
        changes: of the matrices of its base.
        folder: for the file.

    Raises:
        InputError: the model did not come from a GGUF file, or that is not there any more, or files
            of its architecture have no place for what changes; says what is exact instead.
    """
    with TemporaryDirectory(dir=folder) as work:
        donor = GGUFReader(_donor(model.loaded, Path(work)))
        tensors = {one.name: one for one in donor.tensors}
        architecture = donor.fields[Keys.General.ARCHITECTURE].contents()
        anew = _anew(model, changes, architecture)
        _untie(tensors, anew, model, architecture)
        size = sum(_nbytes(one, name in anew) for name, one in tensors.items())
        with room_for(folder.with_name(FILE), size):
            writer = GGUFWriter(folder / FILE, architecture)
            _copy_metadata(donor, writer)
            _write(writer, tensors, anew)
    return {}


def check_donor(loaded: LoadedModel) -> None:
    """Refuse a model that did not come from a GGUF file.

    Raises:
        InputError: says what is exact instead.
    """
    if loaded.gguf_sha256 is None:
        raise InputError(
            f"{loaded.base} is no GGUF file, and an edited one is made of that of the model.",
            "Nearest that is exact: --form weights, then llama.cpp's convert_hf_to_gguf.py on that "
            "folder.",
        )


def _donor(loaded: LoadedModel, folder: Path) -> Path:
    """Return the GGUF file that a model came from; one that has to be fetched goes to a folder."""
    check_donor(loaded)
    file = original(loaded.base, folder)
    if file is None or hash_file(file) != loaded.gguf_sha256:
        raise InputError(
            f"The GGUF file of {loaded.base} has changed since the model was opened.",
            "Open it again.",
        )
    return file


def _anew(model: Model, changes: Changes, architecture: str) -> _Anew:
    """Return what is written anew."""
    module: Any = model.loaded.module
    anew: dict[str, Callable[[], _Edited]] = {}
    for name, change in changes.items():
        matrix, tensor = matrix_at(module, name), _place(model, architecture, name)
        lay = partial(ordered, tensor=tensor, architecture=architecture, config=module.config)
        anew[f"{tensor}.weight"] = partial(_weight, matrix, change, lay)
        if matrix.bias is not None and change.shift is not None:
            anew[f"{tensor}.bias"] = partial(_bias, matrix.bias, change.shift, lay)
    return anew


def _untie(tensors: dict[str, Any], anew: _Anew, model: Model, architecture: str) -> None:
    """Give the unembedding a tensor of its own, where it shares the embedding's and one changes."""
    table, unembedding = f"{EMBEDDING}.weight", f"{UNEMBEDDING}.weight"
    if unembedding not in tensors and {table, unembedding} & anew.keys():
        _place(model, architecture, "lm_head")
        tensors[unembedding] = tensors[table]


def _place(model: Model, architecture: str, matrix: str) -> str:
    """Return what the file calls a matrix."""
    found = tensor_name(architecture, model.n_layers, matrix)
    if found is None:
        raise InputError(
            f"GGUF files of {architecture} have no place for {matrix}.",
            "Nearest that is exact: --form weights.",
        )
    return found


def _weight(matrix: Matrix, change: Change, lay: Callable[[Tensor], Tensor]) -> _Edited:
    added = change.outer @ change.inner
    if matrix.table:
        return _Edited(matrix.weight.T, added.T)
    return _Edited(lay(matrix.weight), lay(added))


def _bias(bias: Tensor, shift: Tensor, lay: Callable[[Tensor], Tensor]) -> _Edited:
    return _Edited(lay(bias), lay(shift))


def _nbytes(donated: Any, anew: bool) -> int:
    return int(4 * donated.n_elements if anew else donated.n_bytes)


def _copy_metadata(donor: GGUFReader, writer: GGUFWriter) -> None:
    writer.data_alignment = int(donor.alignment)
    for name, field in donor.fields.items():
        if name.startswith("GGUF.") or name == Keys.General.ARCHITECTURE:
            continue  # the writer has these
        value = field.contents()
        if value != []:  # which the library reads but does not write
            writer.add_key_value(name, value, field.types[0], sub_type=field.types[-1])


def _write(writer: GGUFWriter, tensors: Mapping[str, Any], anew: _Anew) -> None:
    for name, one in tensors.items():
        if name in anew:
            shape = one.shape.tolist()[::-1]
            writer.add_tensor_info(name, shape, np.dtype(np.float32), _nbytes(one, True))
        else:
            data = one.data
            writer.add_tensor_info(name, data.shape, data.dtype, data.nbytes, one.tensor_type)
    with closing(writer):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, one in tensors.items():
            writer.write_tensor_data(_values(one, anew[name]()) if name in anew else one.data)


def _values(donated: Any, edited: _Edited) -> NDArray[np.float32]:
    """Return the values of a tensor after the edit, `[rows, in]` or `[out]`.

    Raises:
        InputError: what the file has there is not what the model has: the file orders it otherwise.
    """
    now = torch.from_numpy(np.array(dequantize(donated.data, donated.tensor_type)))
    if not torch.equal(now.to(edited.now.dtype), edited.now.cpu()):
        raise InputError(
            f"How GGUF files of this architecture order {donated.name} is not known.",
            "Nearest that is exact: --form weights, then llama.cpp's convert_hf_to_gguf.py on that "
            "folder.",
        )
    after: NDArray[np.float32] = (now.double() + edited.added.cpu()).float().numpy()
    return after
