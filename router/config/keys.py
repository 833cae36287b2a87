"""API keys at rest: a JSON file of names and salted hashes. A key itself is shown once, when it is made.

Keys are 256 random bits, so one round of SHA-256 with a salt is enough: slow hashes protect what people think up.
The file is looked at again when it changes, so a key that is removed stops working at once.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from router.domain.errors import ConfigError

PREFIX = "cr-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_YOURS = "it belongs to the user that serves: run the command as that user or as root, or give it back with `chown`"
_WHAT_TO_DO = {
    errno.EACCES: _NOT_YOURS,
    errno.EPERM: _NOT_YOURS,
    errno.ENOSPC: "free some space on the disk; the keys are as they were",
    errno.EDQUOT: "free some space on the disk; the keys are as they were",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept.

    Attributes:
        name: Whose it is.
        salt: Hexadecimal.
        hash: SHA-256 of salt and key, hexadecimal.
        created_at: ISO time.
    """

    name: str
    salt: str
    hash: str
    created_at: str


class KeyFile:
    """The keys of a router; safe to read while another process adds or removes some."""

    def __init__(self, path: Path) -> None:
        """Take where it is; it need not exist."""
        self._path = path
        self._signature: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    def all(self) -> tuple[Key, ...]:
        """The keys.

        Raises:
            ConfigError: If the file is damaged, or may not be read.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._signature, self._keys = None, ()
            return ()
        except OSError as error:
            raise self._refused("read", error) from error
        signature = (found.st_mtime_ns, found.st_size, found.st_ino)
        if signature != self._signature:
            self._keys = self._read()
            self._signature = signature
        return self._keys

    def add(self, name: str) -> str:
        """Make a key; returned here and nowhere else.

        Raises:
            ConfigError: If the name is taken or not one.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(f"a key's name is made of letters, digits, `.`, `_` and `-`, not {name!r}")
        keys = self.all()
        if any(key.name == name for key in keys):
            raise ConfigError(
                f"there is a key {name!r} already",
                file=str(self._path),
                hint="choose another name, or remove that key first",
            )
        token = PREFIX + secrets.token_urlsafe(32)
        salt = secrets.token_hex(16)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        self._write((*keys, Key(name, salt, _hash(salt, token), created)))
        return token

    def remove(self, name: str) -> None:
        """Forget a key.

        Raises:
            ConfigError: If there is none of that name.
        """
        keys = self.all()
        kept = tuple(key for key in keys if key.name != name)
        if len(kept) == len(keys):
            known = ", ".join(key.name for key in keys) or "none"
            raise ConfigError(f"there is no key {name!r}", file=str(self._path), hint=f"known are: {known}")
        self._write(kept)

    def owner(self, token: str) -> str | None:
        """Whose key it is, or None; takes as long whichever key it is.

        Raises:
            ConfigError: If the file is damaged or may not be read: nobody is let in then.
        """
        owner: str | None = None
        for key in self.all():
            if hmac.compare_digest(_hash(key.salt, token), key.hash):
                owner = key.name
        return owner

    def _read(self) -> tuple[Key, ...]:
        try:
            return tuple(Key(**entry) for entry in json.loads(self._path.read_text("utf-8")))
        except OSError as error:
            raise self._refused("read", error) from error
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"the keys cannot be read: {error}", file=str(self._path), hint="remove the file and make new keys"
            ) from error

    def _write(self, keys: tuple[Key, ...]) -> None:
        """All or nothing, and readable by its owner alone."""
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), *self._owner_ids())
                json.dump([asdict(key) for key in keys], file, indent=1)
            os.replace(new, self._path)
        except OSError as error:
            raise self._refused("written", error) from error

    def _owner_ids(self) -> tuple[int, int]:
        """User and group of whoever serves, who cannot read a file of root's: the old file's, else the folder's."""
        for path in (self._path, self._path.parent):
            if path.exists() and (found := path.stat()).st_uid != 0:
                return found.st_uid, found.st_gid
        return 0, 0

    def _refused(self, what: str, error: OSError) -> ConfigError:
        """What to tell of a file that the system does not give."""
        hint = _WHAT_TO_DO.get(error.errno or 0, "see that ROUTER_DATA_DIR is a folder that can be read and written")
        return ConfigError(f"the keys cannot be {what}: {error.strerror or error}", file=str(self._path), hint=hint)


def _hash(salt: str, token: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + token.encode("utf-8", "surrogatepass")).hexdigest()
