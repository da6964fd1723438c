"""GGUF files as safetensors folders, converted once and kept in the cache."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError

from endoscope.cache import cache_folder
from endoscope.errors import InputError
from endoscope.sha256 import hash_file

_RECORD = "converted.json"  # what the folder was made from, and the sizes of its files


def gguf_sha256(folder: Path) -> str | None:
    """Return the SHA-256 of the GGUF file that a folder was converted from, if it was."""
    try:
        return str(json.loads((folder / _RECORD).read_text())["gguf_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def converted(key: str, make_gguf: Callable[[Path], Path]) -> Path:
    """Return the safetensors folder kept under a key, making it if it is missing or broken.

    Several processes may ask at once: one makes it, the others wait and then find it. What a
    killed process left behind is swept away.

    Args:
        key: name of the folder in the cache.
        make_gguf: gives the path of the GGUF file to convert; it may use the folder that it is
            handed, which is removed afterwards.

    Raises:
        InputError: the GGUF file cannot be had or read, or the cache cannot hold the model.
    """
    target = cache_folder() / "models" / key
    if _whole(target):
        return target
    try:
        return _make(target, make_gguf)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"The model cannot be kept in {target.parent}: {getattr(error, 'strerror', error)}.",
            "Free some space, or name another folder in ENDOSCOPE_CACHE.",
        ) from error


def _make(target: Path, make_gguf: Callable[[Path], Path]) -> Path:
    key = target.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{key}.lock")):
        if _whole(target):
            return target
        work = target.with_name(f".{key}.making")
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        try:
            (work / "download").mkdir(parents=True)
            _convert(make_gguf(work / "download"), work / "model")
            (work / "model").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def file_key(path: Path) -> str:
    """Return a cache key for a GGUF file of the user's: its stem and the hash of its content."""
    return f"{path.stem}-{hash_file(path)[:16]}"


def _whole(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / _RECORD).read_text())["sizes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # transformers draws its conversion bar whatever its own switch says.
    with quiet(), redirect_stderr(StringIO()):
        try:
            module: Any = AutoModelForCausalLM.from_pretrained(
                str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32
            )
            tokenizer: Any = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        except Exception as error:  # the reader raises whatever the broken place provokes
            raise InputError(
                f"{gguf.name} cannot be read as GGUF ({type(error).__name__}).",
                "It may be cut short, or of an architecture that transformers cannot load.",
            ) from error
        # The weights are plain numbers from here on; the flags would forbid saving them.
        module.hf_quantizer = None
        module.is_quantized = False
        if hasattr(module.config, "quantization_config"):
            del module.config.quantization_config
        module.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _compact(folder)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    record = {"gguf_sha256": hash_file(gguf), "sizes": sizes}
    (folder / _RECORD).write_text(json.dumps(record))


def _compact(folder: Path) -> None:
    """Make a large vocabulary open in a third of the time.

    Without indentation it is read faster, its own class would rebuild it, and transformers parses
    it a second time unless the settings list the added tokens.
    """
    file = folder / "tokenizer.json"
    vocabulary = json.loads(file.read_text())
    file.write_text(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")))
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text()) | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {
            token["id"]: {key: value for key, value in token.items() if key != "id"}
            for token in vocabulary["added_tokens"]
        },
    }
    file.write_text(json.dumps(settings))


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the progress bars and the chatter of transformers."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    level = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
