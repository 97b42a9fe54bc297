"""hvac, unmodified, against a server of Vault's API that is unsealed.

SERVER and TOKEN in the environment; OpenBao passes all of it as well.
"""

import os
import unittest

import hvac
from hvac import exceptions

SERVER = os.environ["SERVER"]
TOKEN = os.environ["TOKEN"]


def client(token=TOKEN):
    return hvac.Client(url=SERVER, token=token)


class KvV2(unittest.TestCase):
    def setUp(self):
        self.kv = client().secrets.kv.v2

    def test_write_read_delete_undelete_destroy(self):
        kv = self.kv
        written = kv.create_or_update_secret("life", {"user": "ann"})
        self.assertEqual(written["data"]["version"], 1)
        kv.create_or_update_secret("life", {"user": "bob"}, cas=1)
        with self.assertRaises(exceptions.InvalidRequest):
            kv.create_or_update_secret("life", {"user": "eve"}, cas=1)
        self.assertEqual(kv.read_secret("life")["data"]["data"], {"user": "bob"})
        first = kv.read_secret_version("life", version=1, raise_on_deleted_version=True)
        self.assertEqual(first["data"]["data"], {"user": "ann"})
        kv.delete_latest_version_of_secret("life")
        with self.assertRaises(exceptions.InvalidPath):
            kv.read_secret_version("life", raise_on_deleted_version=True)
        gone = kv.read_secret_version("life", raise_on_deleted_version=False)
        self.assertIsNone(gone["data"]["data"])
        kv.undelete_secret_versions("life", [2])
        self.assertEqual(kv.read_secret("life")["data"]["metadata"]["version"], 2)
        kv.delete_secret_versions("life", [1])
        kv.destroy_secret_versions("life", [1])
        metadata = kv.read_secret_metadata("life")["data"]
        self.assertTrue(metadata["versions"]["1"]["destroyed"])
        self.assertEqual(metadata["current_version"], 2)
        kv.delete_metadata_and_all_versions("life")
        with self.assertRaises(exceptions.InvalidPath):
            kv.read_secret_metadata("life")

    def test_patch(self):
        self.kv.create_or_update_secret("patch", {"a": "1", "b": "2"})
        self.kv.patch("patch", {"b": "3", "c": "4"})
        data = self.kv.read_secret("patch")["data"]["data"]
        self.assertEqual(data, {"a": "1", "b": "3", "c": "4"})
        with self.assertRaises(exceptions.InvalidPath):
            self.kv.patch("patch-none", {"b": "3"})

    def test_list(self):
        for path in ["list/a", "list/b/c", "list/b"]:
            self.kv.create_or_update_secret(path, {"x": "y"})
        self.assertEqual(self.kv.list_secrets("list")["data"]["keys"], ["a", "b", "b/"])
        self.assertEqual(self.kv.list_secrets("list/b/")["data"]["keys"], ["c"])
        with self.assertRaises(exceptions.InvalidPath):
            self.kv.list_secrets("list/none")

    def test_metadata_and_config(self):
        kv = self.kv
        kv.update_metadata("meta", max_versions=2, cas_required=True,
                           delete_version_after="1h30m", custom_metadata={"owner": "ann"})
        data = kv.read_secret_metadata("meta")["data"]
        self.assertEqual(data["custom_metadata"], {"owner": "ann"})
        self.assertEqual(data["delete_version_after"], "1h30m0s")
        with self.assertRaises(exceptions.InvalidRequest):
            kv.create_or_update_secret("meta", {"a": "b"})
        for version in range(3):
            kv.create_or_update_secret("meta", {"a": version}, cas=version)
        versions = kv.read_secret_metadata("meta")["data"]["versions"]
        self.assertEqual(sorted(versions), ["2", "3"])
        kv.configure(max_versions=9)
        self.assertEqual(kv.read_configuration()["data"]["max_versions"], 9)
        kv.configure(max_versions=0)

    def test_values_come_back_as_they_were(self):
        value = {"n": 1, "f": 1.5, "t": True, "z": None, "l": [1, "é", {}], "s": "\u0000 😀", "e": ""}
        self.kv.create_or_update_secret("values", value)
        self.assertEqual(self.kv.read_secret("values")["data"]["data"], value)

    def test_names(self):
        for path in ["with space", "plus+and;semicolon", "é/ü", "a.b/c..d", "100%", "q?x=1&y#z"]:
            self.kv.create_or_update_secret("names/" + path, {"p": path})
            self.assertEqual(self.kv.read_secret("names/" + path)["data"]["data"], {"p": path})


class KvV1(unittest.TestCase):
    def test_life(self):
        c = client()
        c.sys.enable_secrets_engine("kv", path="hvac-v1", options={"version": "1"})
        kv = c.secrets.kv.v1
        kv.create_or_update_secret("a/b", {"x": "y"}, mount_point="hvac-v1")
        self.assertEqual(kv.read_secret("a/b", mount_point="hvac-v1")["data"], {"x": "y"})
        self.assertEqual(kv.list_secrets("a", mount_point="hvac-v1")["data"]["keys"], ["b"])
        kv.delete_secret("a/b", mount_point="hvac-v1")
        with self.assertRaises(exceptions.InvalidPath):
            kv.read_secret("a/b", mount_point="hvac-v1")
        c.sys.disable_secrets_engine("hvac-v1")


class Tokens(unittest.TestCase):
    def setUp(self):
        self.root = client()

    def test_create_look_up_renew_revoke(self):
        made = self.root.auth.token.create(policies=["default"], ttl="1h", display_name="x",
                                           meta={"a": "b"})["auth"]
        self.assertEqual((made["lease_duration"], made["renewable"]), (3600, True))
        own = client(made["client_token"])
        self.assertTrue(own.is_authenticated())
        looked = own.auth.token.lookup_self()["data"]
        self.assertEqual((looked["display_name"], looked["meta"]), ("token-x", {"a": "b"}))
        self.assertEqual(own.auth.token.renew_self(increment="10m")["auth"]["lease_duration"], 600)
        self.root.auth.token.renew(made["client_token"], increment=60)
        self.root.auth.token.lookup_accessor(made["accessor"])
        self.root.auth.token.revoke_accessor(made["accessor"])
        self.assertFalse(own.is_authenticated())
        with self.assertRaises(exceptions.Forbidden):
            self.root.auth.token.lookup(made["client_token"])

    def test_children_go_with_their_parent_and_orphans_stay(self):
        self.root.sys.create_or_update_policy("hvac-parent", 'path "auth/token/create*" {policy="sudo"}')
        parent = self.root.auth.token.create(policies=["hvac-parent"])["auth"]["client_token"]
        child = client(parent).auth.token.create()["auth"]["client_token"]
        orphan = client(parent).auth.token.create_orphan()["auth"]["client_token"]
        self.root.auth.token.revoke(parent)
        self.assertFalse(client(child).is_authenticated())
        self.assertTrue(client(orphan).is_authenticated())
        client(orphan).auth.token.revoke_self()
        self.assertFalse(client(orphan).is_authenticated())

    def test_uses_are_counted(self):
        token = self.root.auth.token.create(policies=["default"], num_uses=2)["auth"]["client_token"]
        own = client(token)
        own.auth.token.lookup_self()
        own.auth.token.lookup_self()
        with self.assertRaises(exceptions.Forbidden):
            own.auth.token.lookup_self()

    def test_roles(self):
        token = self.root.auth.token
        token.create_or_update_role("hvac", allowed_policies=["default"], orphan=True,
                                    token_period="1h")
        made = token.create(role_name="hvac")["auth"]
        self.assertEqual((made["orphan"], made["lease_duration"]), (True, 3600))
        self.assertIn("hvac", token.list_roles()["data"]["keys"])
        token.read_role("hvac")
        with self.assertRaises(exceptions.InvalidRequest):
            token.create(role_name="hvac", policies=["root"])
        token.delete_role("hvac")

    def test_wrapping(self):
        wrapped = self.root.auth.token.create(policies=["default"], wrap_ttl="60s")["wrap_info"]
        self.root.adapter.post("/v1/sys/wrapping/lookup", json={"token": wrapped["token"]})
        inner = self.root.sys.unwrap(wrapped["token"])
        self.assertTrue(inner["auth"]["client_token"])
        with self.assertRaises(exceptions.InvalidRequest):
            self.root.sys.unwrap(wrapped["token"])
        data = self.root.sys.wrap({"a": "b"}, ttl=60)
        self.assertEqual(client(data["wrap_info"]["token"]).sys.unwrap()["data"], {"a": "b"})


class Policies(unittest.TestCase):
    def test_life(self):
        c = client()
        text = 'path "secret/data/hvac-read" { capabilities = ["read"] }'
        c.sys.create_or_update_policy("hvac-read", text)
        self.assertIn("hvac-read", c.sys.list_policies()["data"]["policies"])
        self.assertEqual(c.sys.read_policy("hvac-read")["data"]["rules"], text)
        c.sys.create_or_update_acl_policy("hvac-read", text)
        self.assertEqual(c.sys.read_acl_policy("hvac-read")["data"]["policy"], text)
        self.assertIn("hvac-read", c.sys.list_acl_policies()["data"]["keys"])
        c.secrets.kv.v2.create_or_update_secret("hvac-read", {"a": "b"})
        token = c.auth.token.create(policies=["hvac-read"])["auth"]["client_token"]
        own = client(token)
        self.assertEqual(own.secrets.kv.v2.read_secret("hvac-read")["data"]["data"], {"a": "b"})
        for refused in [
            lambda: own.secrets.kv.v2.create_or_update_secret("hvac-read", {"a": "c"}),
            lambda: own.secrets.kv.v2.read_secret("hvac-none"),
            lambda: own.secrets.kv.v2.list_secrets(""),
            lambda: own.sys.list_mounted_secrets_engines(),
        ]:
            with self.assertRaises(exceptions.Forbidden):
                refused()
        words = own.sys.get_capabilities(["secret/data/hvac-read", "sys/mounts"])["data"]
        self.assertEqual(words["secret/data/hvac-read"], ["read"])
        self.assertEqual(words["sys/mounts"], ["deny"])
        c.sys.delete_policy("hvac-read")
        self.assertEqual(client(token).sys.get_capabilities(["secret/data/hvac-read"])["data"]
                         ["secret/data/hvac-read"], ["deny"])

    def test_dictionaries(self):
        c = client()
        c.sys.create_or_update_policy("hvac-json", {"path": {"a": {"capabilities": ["read"]}}})
        self.assertIn("capabilities", c.sys.read_policy("hvac-json")["data"]["rules"])
        with self.assertRaises(exceptions.InvalidRequest):
            c.sys.create_or_update_policy("hvac-bad", "nonsense")


class AuthMethods(unittest.TestCase):
    def test_userpass(self):
        c = client()
        c.sys.enable_auth_method("userpass", path="hvac-up")
        up = c.auth.userpass
        up.create_or_update_user("ann", "correct horse", policies=["default"], mount_point="hvac-up")
        own = hvac.Client(url=SERVER)
        own.auth.userpass.login("ann", "correct horse", mount_point="hvac-up")
        self.assertTrue(own.is_authenticated())
        for user, password in [("ann", "wrong"), ("none", "wrong")]:
            with self.assertRaises(exceptions.InvalidRequest):
                hvac.Client(url=SERVER).auth.userpass.login(user, password, mount_point="hvac-up")
        up.update_password_on_user("ann", "other", mount_point="hvac-up")
        self.assertEqual(up.list_user(mount_point="hvac-up")["data"]["keys"], ["ann"])
        up.read_user("ann", mount_point="hvac-up")
        up.delete_user("ann", mount_point="hvac-up")
        c.sys.disable_auth_method("hvac-up")
        self.assertFalse(own.is_authenticated())

    def test_approle(self):
        c = client()
        c.sys.enable_auth_method("approle", path="hvac-ar")
        ar = c.auth.approle
        ar.create_or_update_approle("web", token_policies=["default"], token_ttl="20m",
                                    secret_id_num_uses=2, mount_point="hvac-ar")
        self.assertEqual(ar.list_roles(mount_point="hvac-ar")["data"]["keys"], ["web"])
        self.assertEqual(ar.read_role("web", mount_point="hvac-ar")["data"]["token_ttl"], 1200)
        ar.update_role_id("web", "my-role", mount_point="hvac-ar")
        role_id = ar.read_role_id("web", mount_point="hvac-ar")["data"]["role_id"]
        made = ar.generate_secret_id("web", metadata={"host": "a"}, mount_point="hvac-ar")["data"]
        own = hvac.Client(url=SERVER)
        auth = own.auth.approle.login(role_id, made["secret_id"], mount_point="hvac-ar")["auth"]
        self.assertEqual(auth["lease_duration"], 1200)
        self.assertTrue(own.is_authenticated())
        looked = ar.read_secret_id("web", made["secret_id"], mount_point="hvac-ar")["data"]
        self.assertEqual(looked["metadata"], {"host": "a"})
        ar.read_secret_id_accessor("web", made["secret_id_accessor"], mount_point="hvac-ar")
        self.assertEqual(len(ar.list_secret_id_accessors("web", mount_point="hvac-ar")["data"]["keys"]), 1)
        own.auth.approle.login(role_id, made["secret_id"], mount_point="hvac-ar")
        with self.assertRaises(exceptions.InvalidRequest):
            own.auth.approle.login(role_id, made["secret_id"], mount_point="hvac-ar")
        custom = ar.create_custom_secret_id("web", "chosen", mount_point="hvac-ar")["data"]
        ar.destroy_secret_id_accessor("web", custom["secret_id_accessor"], mount_point="hvac-ar")
        wrapped = ar.generate_secret_id("web", wrap_ttl="60s", mount_point="hvac-ar")["wrap_info"]
        self.assertIn("secret_id", c.sys.unwrap(wrapped["token"])["data"])
        ar.delete_role("web", mount_point="hvac-ar")
        c.sys.disable_auth_method("hvac-ar")

    def test_list_tune(self):
        c = client()
        c.sys.enable_auth_method("userpass", path="hvac-tune", description="d")
        self.assertIn("hvac-tune/", c.sys.list_auth_methods()["data"])
        c.sys.tune_auth_method("hvac-tune", default_lease_ttl=3600, description="e")
        tuned = c.sys.read_auth_method_tuning("hvac-tune")["data"]
        self.assertEqual((tuned["default_lease_ttl"], tuned["description"]), (3600, "e"))
        c.sys.disable_auth_method("hvac-tune")


class Mounts(unittest.TestCase):
    def test_life(self):
        c = client()
        c.sys.enable_secrets_engine("kv", path="hvac-m", description="d",
                                    options={"version": "2"}, config={"default_lease_ttl": "1h"})
        listed = c.sys.list_mounted_secrets_engines()["data"]["hvac-m/"]
        self.assertEqual((listed["type"], listed["options"]), ("kv", {"version": "2"}))
        c.sys.tune_mount_configuration("hvac-m", max_lease_ttl="2h")
        tuned = c.sys.read_mount_configuration("hvac-m")["data"]
        self.assertEqual((tuned["default_lease_ttl"], tuned["max_lease_ttl"]), (3600, 7200))
        c.secrets.kv.v2.create_or_update_secret("a", {"x": "y"}, mount_point="hvac-m")
        c.sys.disable_secrets_engine("hvac-m")
        with self.assertRaises((exceptions.InvalidPath, exceptions.Forbidden)):
            c.secrets.kv.v2.read_secret("a", mount_point="hvac-m")
        with self.assertRaises(exceptions.InvalidRequest):
            c.sys.enable_secrets_engine("nonsense", path="hvac-x")

    def test_a_new_mount_at_an_old_path_is_empty(self):
        c = client()
        for _ in range(2):
            c.sys.enable_secrets_engine("kv", path="hvac-again", options={"version": "2"})
            with self.assertRaises(exceptions.InvalidPath):
                c.secrets.kv.v2.read_secret("a", mount_point="hvac-again")
            c.secrets.kv.v2.create_or_update_secret("a", {"x": "y"}, mount_point="hvac-again")
            c.sys.disable_secrets_engine("hvac-again")


class System(unittest.TestCase):
    def test_status(self):
        c = client()
        self.assertTrue(c.sys.is_initialized())
        self.assertFalse(c.sys.is_sealed())
        self.assertEqual(c.sys.read_health_status(method="GET")["initialized"], True)
        self.assertEqual(c.sys.read_health_status(method="HEAD").status_code, 200)
        self.assertIn("ha_enabled", c.sys.read_leader_status())
        self.assertIn("term", c.sys.get_encryption_key_status()["data"])
        c.sys.rotate_encryption_key()

    def test_leases(self):
        c = client()
        with self.assertRaises(exceptions.InvalidRequest):
            c.sys.read_lease("none")
        with self.assertRaises(exceptions.InvalidPath):
            c.sys.list_leases("none")
        c.sys.revoke_prefix("none")

    def test_quotas(self):
        c = client()
        c.sys.create_or_update_quota(name="hvac-q", path="secret/", rate=1000, interval="2s")
        self.assertEqual(c.sys.read_quota("hvac-q")["data"]["rate"], 1000)
        self.assertIn("hvac-q", c.sys.list_quotas()["data"]["keys"])
        c.sys.delete_quota("hvac-q")

    def test_denied_without_a_token(self):
        nobody = hvac.Client(url=SERVER, token="")
        with self.assertRaises((exceptions.Forbidden, exceptions.InvalidRequest)):
            nobody.secrets.kv.v2.read_secret("life")
        self.assertFalse(client("wrong").is_authenticated())


if __name__ == "__main__":
    unittest.main(verbosity=2)
