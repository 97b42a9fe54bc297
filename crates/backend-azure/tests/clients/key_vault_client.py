"""The vendor's Python client against the fake, so that it is not only true to our own client.

usage: key_vault_client.py PORT CA
"""

import sys

from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets import SecretClient

PORT, CA = sys.argv[1:]
AUTHORITY = f"https://127.0.0.1:{PORT}"


class Signed:
    """A token as the fake's sign-in gives it; the Python library insists on Microsoft's hosts."""

    def get_token(self, *scopes, **kwargs):
        from azure.core.credentials import AccessToken
        import json, ssl, time, urllib.parse, urllib.request

        assert scopes == ("https://vault.azure.net/.default",), scopes
        form = {
            "client_id": "app",
            "client_secret": "canary-client-secret-91",
            "grant_type": "client_credentials",
            "scope": scopes[0],
        }
        url = f"{AUTHORITY}/tenant/oauth2/v2.0/token"
        data = urllib.parse.urlencode(form).encode()
        context = ssl.create_default_context(cafile=CA)
        with urllib.request.urlopen(url, data, context=context) as answer:
            answer = json.load(answer)
        return AccessToken(answer["access_token"], int(time.time()) + answer["expires_in"])


api = SecretClient(
    vault_url=AUTHORITY,
    credential=Signed(),
    verify_challenge_resource=False,
    connection_verify=CA,
    retry_total=0,
)


def refused(status, code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except HttpResponseError as error:
        assert error.status_code == status and error.error.code == code, error
        return
    raise AssertionError(f"{call.__name__} was not refused")


# What the backend under test has written.
ours = api.get_secret("jwt--secret-x5f-key")
assert ours.value == "from strongroom" and ours.properties.tags["description"] == "ours"

# Versions, tags, content types.
one = api.set_secret("theirs", "one", tags={"team": "pay"}, content_type="text/plain")
two = api.set_secret("theirs", "two ключ")
assert one.properties.version != two.properties.version and two.properties.enabled
assert api.get_secret("theirs").value == "two ключ"
found = api.get_secret("theirs", one.properties.version)
assert found.value == "one" and found.properties.tags == {"team": "pay"}
assert found.properties.content_type == "text/plain" and found.properties.created_on
refused(404, "SecretNotFound", api.get_secret, "none")
refused(404, "SecretNotFound", api.get_secret, "theirs", "0" * 32)
refused(400, "BadParameter", api.set_secret, "big", "x" * 25601)
refused(400, "BadParameter", api.set_secret, "many", "x", tags={str(n): "" for n in range(16)})
changed = api.update_secret_properties("theirs", tags={"team": "web", "description": "by Python"})
assert changed.tags == {"team": "web", "description": "by Python"}
versions = list(api.list_properties_of_secret_versions("theirs"))
assert {v.version for v in versions} == {one.properties.version, two.properties.version}
assert list(api.list_properties_of_secret_versions("none")) == []

# Disabled ones are not read.
api.set_secret("off", "x", enabled=False)
refused(403, "Forbidden", api.get_secret, "off")

# Lists in pieces.
for number in range(30):
    api.set_secret(f"list-{number:02}", "x")
names = [found.name for found in api.list_properties_of_secrets()]
assert len(names) == len(set(names)) == 33, names
pages = api.list_properties_of_secrets(max_page_size=10).by_page()
assert [len(list(page)) for page in pages] == [10, 10, 10, 3]

# Deleted, brought back, deleted, purged. Each takes its time.
deleted = api.begin_delete_secret("list-00", _polling_interval=0.01).result()
assert deleted.recovery_id and deleted.deleted_date and deleted.scheduled_purge_date
api.begin_delete_secret("list-01", _polling_interval=0.01).wait()
refused(409, "Conflict", api.set_secret, "list-01", "again")
refused(404, "SecretNotFound", api.get_secret, "list-01")
assert api.get_deleted_secret("list-01").name == "list-01"
api.begin_recover_deleted_secret("list-01", _polling_interval=0.01).wait()
assert api.get_secret("list-01").value == "x"
for number in range(1, 30):
    api.begin_delete_secret(f"list-{number:02}", _polling_interval=0.01).wait()
api.purge_deleted_secret("list-05")
refused(404, "SecretNotFound", api.begin_delete_secret, "none")
print("ok")
