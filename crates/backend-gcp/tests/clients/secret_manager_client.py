"""The vendor's Python client against the fake, so that it is not only true to our own client.

usage: secret_manager_client.py PORT
"""

import sys

from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager_v1 as sm

api = sm.SecretManagerServiceClient(
    transport="rest",
    credentials=AnonymousCredentials(),
    client_options={"api_endpoint": f"http://127.0.0.1:{sys.argv[1]}"},
)
PARENT = "projects/shop"
THEIRS = f"{PARENT}/secrets/theirs"
AUTOMATIC = {"replication": {"automatic": {}}}


def refused(status, call, *args, **kwargs):
    try:
        call(*args, retry=None, **kwargs)
    except exceptions.GoogleAPICallError as error:
        body = error.response.json()["error"]
        assert body["status"] == status and body["code"] == error.code, body
        return
    raise AssertionError(f"{call.__name__} was not refused")


def crc(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def access(version):
    found = api.access_secret_version(name=f"{THEIRS}/versions/{version}")
    assert found.payload.data_crc32c == crc(found.payload.data)
    return found.payload.data


# What the backend under test has written, with a checksum.
ours = f"{PARENT}/secrets/jwt__secret_key/versions"
assert api.access_secret_version(name=f"{ours}/latest").payload.data == b"from strongroom"
assert api.get_secret_version(name=f"{ours}/1").client_specified_payload_checksum

# Secrets and versions.
made = api.create_secret(parent=PARENT, secret_id="theirs", secret=AUTOMATIC)
assert made.etag and made.create_time and made.name.endswith("/secrets/theirs")
again = {"parent": PARENT, "secret_id": "theirs", "secret": AUTOMATIC}
refused("ALREADY_EXISTS", api.create_secret, request=again)
refused("INVALID_ARGUMENT", api.create_secret, request=again | {"secret_id": "a/b"})
refused("INVALID_ARGUMENT", api.create_secret, request=again | {"secret_id": "x", "secret": {}})
refused("NOT_FOUND", api.access_secret_version, name=f"{THEIRS}/versions/latest")
refused("NOT_FOUND", api.get_secret, name=f"{PARENT}/secrets/none")
refused("PERMISSION_DENIED", api.get_secret, name="projects/forbidden/secrets/x")
for data in [b"one", b"two\x00\xff", b"three"]:
    payload = {"data": data, "data_crc32c": crc(data)}
    api.add_secret_version(parent=THEIRS, payload=payload)
wrong = {"data": b"x", "data_crc32c": 1}
refused("INVALID_ARGUMENT", api.add_secret_version, parent=THEIRS, payload=wrong)
big = {"data": b"x" * 65537}
refused("INVALID_ARGUMENT", api.add_secret_version, parent=THEIRS, payload=big)
assert access(2) == b"two\x00\xff" and access("latest") == b"three"

# Labels, aliases and etags.
secret = api.get_secret(name=THEIRS)
secret.labels["team"] = "pay"
secret.annotations["description"] = "written by Python"
secret.version_aliases["stable"] = 2
mask = {"paths": ["labels", "annotations", "version_aliases"]}
newer = api.update_secret(secret=secret, update_mask=mask)
assert newer.labels == {"team": "pay"} and newer.etag != secret.etag
refused("FAILED_PRECONDITION", api.update_secret, secret=secret, update_mask=mask)
assert access("stable") == b"two\x00\xff"

# States.
disabled = api.disable_secret_version(name=f"{THEIRS}/versions/1")
assert disabled.state == sm.SecretVersion.State.DISABLED
refused("FAILED_PRECONDITION", api.access_secret_version, name=f"{THEIRS}/versions/1")
assert api.enable_secret_version(name=f"{THEIRS}/versions/1").state.name == "ENABLED"
api.destroy_secret_version(name=f"{THEIRS}/versions/1")
states = [version.state.name for version in api.list_secret_versions(parent=THEIRS)]
assert states == ["ENABLED", "ENABLED", "DESTROYED"], states

# Lists in pieces, and filtered.
for number in range(5):
    api.create_secret(parent=PARENT, secret_id=f"list{number}", secret=AUTOMATIC)
request = {"parent": PARENT, "page_size": 2}
names = [secret.name.rsplit("/", 1)[1] for secret in api.list_secrets(request=request)]
assert len(names) == 7 and len(set(names)) == 7, names
request["filter"] = "name:list"
assert len(list(api.list_secrets(request=request))) == 5
for number in range(5):
    api.delete_secret(name=f"{PARENT}/secrets/list{number}")
refused("NOT_FOUND", api.delete_secret, name=f"{PARENT}/secrets/list0")
print("ok")
