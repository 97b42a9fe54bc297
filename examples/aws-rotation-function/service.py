"""Whoever checks the passwords: here a file of salted hashes, as a stand-in for a database.

A user has two hashes, so that the password before the last one works until the next rotation: who
holds it has time to read the new one. For a database of your own write these two functions anew
(`ALTER ROLE … PASSWORD` in a connection with the current password, and a connection with the new
one).
"""

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import tempfile


def _path():
    return os.environ["PASSWORD_FILE"]


def _users():
    try:
        with open(_path()) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def _hash(password, salt):
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=2**12, r=8, p=1).hex()


def _entry(password):
    salt = os.urandom(16).hex()
    return {"salt": salt, "hash": _hash(password, salt)}


def _fits(entry, password):
    return hmac.compare_digest(entry["hash"], _hash(password, entry["salt"]))


def accepts(user, password):
    return any([_fits(entry, password) for entry in _users().get(user, [])])


@contextlib.contextmanager
def _changed():
    """The users, to be changed; one change at a time, as rotations of others go on meanwhile."""
    with open(_path() + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        users = _users()
        yield users
        _write(users)


def set_password(user, current, new):
    with _changed() as users:
        kept = [entry for entry in users.get(user, []) if _fits(entry, current)]
        users[user] = kept + [_entry(new)]


def add_user(user, password):
    with _changed() as users:
        users[user] = [_entry(password)]


def _write(users):
    folder = os.path.dirname(os.path.abspath(_path()))
    descriptor, temporary = tempfile.mkstemp(dir=folder)
    with os.fdopen(descriptor, "w") as file:
        json.dump(users, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, _path())


if __name__ == "__main__":
    import sys

    add_user(sys.argv[1], sys.stdin.readline().rstrip("\n"))
