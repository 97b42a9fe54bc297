"""hvac, unmodified, against an empty server of Vault's API: one operator's day, in order.

SERVER in the environment; OpenBao passes all of it as well.
"""

import base64
import os

import hvac
from hvac import exceptions

SERVER = os.environ["SERVER"]


def refused(call, *errors):
    try:
        call()
    except errors:
        return
    raise AssertionError(f"not refused: {call}")


operator = hvac.Client(url=SERVER)
assert not operator.sys.is_initialized()
assert operator.sys.is_sealed()
assert operator.sys.read_health_status(method="GET").status_code == 501
refused(lambda: operator.secrets.kv.v2.read_secret("a"), exceptions.VaultError)

made = operator.sys.initialize(secret_shares=5, secret_threshold=3)
keys, root_token = made["keys_base64"], made["root_token"]
assert len(keys) == len(made["keys"]) == 5
refused(lambda: operator.sys.initialize(1, 1), exceptions.InvalidRequest)
root = hvac.Client(url=SERVER, token=root_token)
assert root.sys.is_initialized() and root.sys.is_sealed()

# Unsealing: the same share twice does not count twice, a reset forgets, hex does as well.
assert operator.sys.submit_unseal_key(keys[0])["progress"] == 1
assert operator.sys.submit_unseal_key(keys[0])["progress"] == 1
assert operator.sys.submit_unseal_key(reset=True)["progress"] == 0
operator.sys.submit_unseal_keys([made["keys"][4], keys[1]])
assert operator.sys.read_seal_status()["progress"] == 2
assert operator.sys.submit_unseal_key(keys[2])["sealed"] is False

root.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
root.secrets.kv.v2.create_or_update_secret("kept", {"a": "b"})

# Sealed, a server tells nothing; unsealed, it has everything.
root.sys.seal()
assert root.sys.is_sealed()
refused(lambda: root.secrets.kv.v2.read_secret("kept"), exceptions.VaultDown)
operator.sys.submit_unseal_keys(keys[2:5])
assert root.secrets.kv.v2.read_secret("kept")["data"]["data"] == {"a": "b"}

# Three wrong shares do not open it.
root.sys.seal()
wrong = ["AAAA" + key[4:] for key in keys[:3]]
refused(lambda: operator.sys.submit_unseal_keys(wrong), exceptions.InvalidRequest)
assert root.sys.is_sealed()
operator.sys.submit_unseal_key(reset=True)
operator.sys.submit_unseal_keys(keys[:3])
assert not root.sys.is_sealed()

# A new root token, made with shares.
start = operator.sys.start_root_token_generation()
nonce, otp = start["nonce"], start["otp"]
refused(lambda: operator.sys.start_root_token_generation(), exceptions.InvalidRequest)
for key in keys[:3]:
    answer = operator.sys.generate_root(key, nonce)
assert answer["complete"]
encoded = answer["encoded_root_token"]
padded = encoded + "=" * (-len(encoded) % 4)

token = bytes(a ^ b for a, b in zip(base64.b64decode(padded), otp.encode())).decode()
another = hvac.Client(url=SERVER, token=token)
assert another.auth.token.lookup_self()["data"]["policies"] == ["root"]
another.auth.token.revoke_self()
operator.sys.start_root_token_generation()
root.sys.cancel_root_generation()
assert not operator.sys.read_root_generation_progress()["started"]

# New shares.
nonce = operator.sys.start_rekey(secret_shares=3, secret_threshold=2)["nonce"]
assert operator.sys.read_rekey_progress()["started"]
for key in keys[:3]:
    answer = operator.sys.rekey(key, nonce=nonce)
assert answer["complete"]
new_keys = answer["keys_base64"]
root.sys.seal()
refused(lambda: operator.sys.submit_unseal_keys(keys[:2]), exceptions.InvalidRequest)
operator.sys.submit_unseal_key(reset=True)
operator.sys.submit_unseal_keys(new_keys[:2])
assert root.secrets.kv.v2.read_secret("kept")["data"]["data"] == {"a": "b"}
operator.sys.start_rekey(secret_shares=3, secret_threshold=2)
root.sys.cancel_rekey()
assert not operator.sys.read_rekey_progress()["started"]

# New shares that have to be shown before the old ones go.
nonce = operator.sys.start_rekey(3, 2, require_verification=True)["nonce"]
for key in new_keys[:2]:
    answer = operator.sys.rekey(key, nonce=nonce)
last_keys = answer["keys_base64"]
nonce = answer["verification_nonce"]
for key in last_keys[1:]:
    answer = operator.sys.rekey_verify(key, nonce=nonce)
assert answer["complete"]
root.sys.seal()
operator.sys.submit_unseal_keys(last_keys[:2])
assert not root.sys.is_sealed()

root.sys.rotate_encryption_key()
assert root.sys.get_encryption_key_status()["data"]["term"] == 2
assert root.secrets.kv.v2.read_secret("kept")["data"]["data"] == {"a": "b"}

# Audit devices.
if folder := os.environ.get("AUDIT_FOLDER"):
    root.sys.enable_audit_device("file", path="log", options={"file_path": folder + "/operator.log"})
    assert "log/" in root.sys.list_enabled_audit_devices()["data"]
    assert root.sys.calculate_hash("log", "b")["data"]["hash"].startswith("hmac-sha256:")
    root.secrets.kv.v2.read_secret("kept")
    root.sys.disable_audit_device("log")
print("ok")
