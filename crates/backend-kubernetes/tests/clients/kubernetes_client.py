"""The vendor's Python client against the fake, so that it is not only true to our own client.

usage: kubernetes_client.py KUBECONFIG
"""

import base64
import sys

from kubernetes import client, config
from kubernetes.client.rest import ApiException

config.load_kube_config(config_file=sys.argv[1])
api = client.CoreV1Api()
NAMESPACE = "shop"


def refused(status, reason, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == status, (error.status, error.body)
        body = __import__("json").loads(error.body)
        assert body["kind"] == "Status" and body["status"] == "Failure", body
        assert body["reason"] == reason and body["code"] == status, body
        return
    raise AssertionError(f"{call.__name__} was not refused")


def secret(name, **kwargs):
    return client.V1Secret(metadata=client.V1ObjectMeta(name=name), **kwargs)


def text(found, key):
    return base64.b64decode(found.data[key]).decode()


# What the backend under test has written.
ours = api.read_namespaced_secret("ours", NAMESPACE)
assert text(ours, "jwt__secret_key") == "from strongroom", ours.data
assert ours.metadata.labels["app.kubernetes.io/managed-by"] == "strongroom"

# Created, with plain text folded in.
made, status, _ = api.create_namespaced_secret_with_http_info(
    NAMESPACE, secret("theirs", string_data={"a": "plain"}, data={"b": "Yg=="})
)
assert status == 201 and made.string_data is None and made.type == "Opaque"
assert text(made, "a") == "plain" and text(made, "b") == "b"
assert made.metadata.uid and made.metadata.resource_version
refused(409, "AlreadyExists", api.create_namespaced_secret, NAMESPACE, secret("theirs"))
refused(404, "NotFound", api.read_namespaced_secret, "none", NAMESPACE)
refused(404, "NotFound", api.create_namespaced_secret, "nowhere", secret("x"))
refused(403, "Forbidden", api.read_namespaced_secret, "x", "forbidden")
refused(422, "Invalid", api.create_namespaced_secret, NAMESPACE, secret("k", data={"a b": "Yg=="}))
refused(422, "Invalid", api.create_namespaced_secret, NAMESPACE, secret("Upper"))
refused(400, "BadRequest", api.create_namespaced_secret, NAMESPACE, secret("k", data={"a": "%"}))
big = base64.b64encode(b"x" * (1024 * 1024 + 1)).decode()
refused(422, "Invalid", api.create_namespaced_secret, NAMESPACE, secret("k", data={"a": big}))

# Replaced, but not with what is stale.
made.data["a"] = base64.b64encode(b"newer").decode()
newer = api.replace_namespaced_secret("theirs", NAMESPACE, made)
assert newer.metadata.resource_version != made.metadata.resource_version
assert newer.metadata.uid == made.metadata.uid
refused(409, "Conflict", api.replace_namespaced_secret, "theirs", NAMESPACE, made)

# Patched: one key set, one taken away, the others left. The same again changes nothing.
change = {"data": {"b": None, "c": "Yw=="}, "stringData": {"d": "folded"}}
patched = api.patch_namespaced_secret("theirs", NAMESPACE, change)
assert sorted(patched.data) == ["a", "c", "d"] and text(patched, "d") == "folded"
again = api.patch_namespaced_secret("theirs", NAMESPACE, {"data": {"c": "Yw=="}})
assert again.metadata.resource_version == patched.metadata.resource_version
stale = {"metadata": {"resourceVersion": "1"}, "data": {"c": "ZA=="}}
refused(409, "Conflict", api.patch_namespaced_secret, "theirs", NAMESPACE, stale)

# Listed in pieces.
for number in range(5):
    api.create_namespaced_secret(NAMESPACE, secret(f"list-{number}"))
names, token = [], None
while True:
    page = api.list_namespaced_secret(NAMESPACE, limit=3, _continue=token)
    assert len(page.items) <= 3
    names += [item.metadata.name for item in page.items]
    token = page.metadata._continue
    if not token:
        break
assert names == sorted(names) and len(names) == len(set(names)) == 7, names

# Frozen ones stay as they are.
api.create_namespaced_secret(NAMESPACE, secret("ice", string_data={"a": "1"}, immutable=True))
refused(422, "Invalid", api.patch_namespaced_secret, "ice", NAMESPACE, {"stringData": {"a": "2"}})

# Deleted, under conditions.
other = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="other"))
refused(409, "Conflict", api.delete_namespaced_secret, "list-0", NAMESPACE, body=other)
deleted = api.delete_namespaced_secret("list-0", NAMESPACE)
deleted = deleted if isinstance(deleted, dict) else deleted.to_dict()
assert deleted["status"] == "Success", deleted
refused(404, "NotFound", api.delete_namespaced_secret, "list-0", NAMESPACE)
print("ok")
