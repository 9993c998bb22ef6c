"""A pair of Ed25519 keys: the private one signs tokens, the public one lets services check them."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

PRIVATE, PUBLIC = "auth_private.pem", "auth_public.pem"


class NotCreated(Exception):
    """Keys cannot be created or read; the text says why."""


def create(folder: Path) -> list[str]:
    """Create what is missing of the pair, and return what was done. What is there is left as it is."""
    private, public = folder / PRIVATE, folder / PUBLIC
    if private.exists() and public.exists():
        return [f"{private} and {public} are there already, and are left as they are"]
    if public.exists():
        raise NotCreated(f"{public} is there already, and its private key is not: move it away to create a new pair")
    done = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if private.exists():
            key = read(folder)
        else:
            key = Ed25519PrivateKey.generate()
            write(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
            done.append(f"created {private}, which signs tokens: keep it where tokens are issued, and nowhere else")
        # Containers run as other users, so everyone may read it; it is no secret.
        write(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    except OSError as error:
        raise NotCreated(f"the keys cannot be written into {folder}: {error.strerror}") from None
    done.append(f"created {public}, which the gateway and the publisher check tokens with")
    return done


def read(folder: Path) -> Ed25519PrivateKey:
    path = folder / PRIVATE
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise NotCreated(f"there is no {path}: make keys creates it") from None
    except OSError as error:
        raise NotCreated(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise NotCreated(f"{path} does not hold a private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise NotCreated(f"{path} holds another kind of key than Ed25519, which make keys creates")
    return key


def write(path: Path, text: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask is
        file.write(text)
