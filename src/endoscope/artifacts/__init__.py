"""What is kept on disk and why it can be trusted: cards, evidence, fingerprints, atomic files."""

from endoscope.artifacts.atomic import atomic_file, atomic_folder, atomic_lines, check_free
from endoscope.artifacts.card import Card, DataRef, Evidence, installed_versions
from endoscope.artifacts.files import (
    declared,
    load_artifact,
    read_card,
    save_artifact,
    write_card,
)
from endoscope.artifacts.fingerprint import (
    Fingerprint,
    Relation,
    TransferWarning,
    check_model,
    check_same,
    fingerprint_of,
    fingerprint_of_file,
)
from endoscope.artifacts.records import once, read_record, write_record

__all__ = [
    "Card",
    "DataRef",
    "Evidence",
    "Fingerprint",
    "Relation",
    "TransferWarning",
    "atomic_file",
    "atomic_folder",
    "atomic_lines",
    "check_free",
    "check_model",
    "check_same",
    "declared",
    "fingerprint_of",
    "fingerprint_of_file",
    "installed_versions",
    "load_artifact",
    "once",
    "read_card",
    "read_record",
    "save_artifact",
    "write_card",
    "write_record",
]
