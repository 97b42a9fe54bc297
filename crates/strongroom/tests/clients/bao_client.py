"""The `bao` command line, unmodified, against a server of Vault's API that is unsealed.

SERVER, TOKEN and BAO (the program) in the environment; OpenBao passes all of it as well.
"""

import json
import os
import subprocess
import tempfile
import unittest

HOME = tempfile.mkdtemp()
ENV = {"HOME": HOME, "BAO_ADDR": os.environ["SERVER"], "BAO_TOKEN": os.environ["TOKEN"],
       "PATH": "/usr/bin:/bin", "BAO_MAX_RETRIES": "0", "GOMAXPROCS": "1"}


def bao(*words, token=None, stdin=None, code=0):
    env = dict(ENV, BAO_TOKEN=token) if token else ENV
    done = subprocess.run([os.environ["BAO"], *words], env=env, input=stdin, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == code, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stdout if code == 0 else done.stderr


def data(*words, **options):
    command, *rest = words
    at = 2 if command in ("kv", "token", "auth", "policy", "secrets", "lease", "audit") else 1
    words = [*words[:at], "-format=json", *words[at:]]
    return json.loads(bao(*words, **options))


class Kv(unittest.TestCase):
    def test_values(self):
        bao("kv", "put", "secret/cli", "user=ann", "n=1")
        bao("kv", "put", "-cas=1", "secret/cli", "user=bob")
        bao("kv", "put", "-cas=1", "secret/cli", "user=eve", code=2)
        self.assertEqual(bao("kv", "get", "-field=user", "secret/cli"), "bob")
        self.assertEqual(data("kv", "get", "-version=1", "secret/cli")["data"]["data"],
                         {"user": "ann", "n": "1"})
        bao("kv", "patch", "secret/cli", "more=x")
        self.assertEqual(data("kv", "get", "secret/cli")["data"]["data"], {"user": "bob", "more": "x"})
        bao("kv", "patch", "-method=rw", "secret/cli", "more=y")
        bao("kv", "rollback", "-version=1", "secret/cli")
        self.assertEqual(data("kv", "get", "secret/cli")["data"]["data"]["user"], "ann")
        bao("kv", "get", "secret/cli-none", code=2)
        bao("kv", "put", "-mount=secret", "cli-mount", "-", stdin='{"a": {"b": [1, 2]}}')
        self.assertEqual(data("kv", "get", "-mount=secret", "cli-mount")["data"]["data"],
                         {"a": {"b": [1, 2]}})

    def test_versions(self):
        for value in "abc":
            bao("kv", "put", "secret/cli-versions", f"v={value}")
        bao("kv", "delete", "secret/cli-versions")
        self.assertIn("deletion_time", bao("kv", "get", "secret/cli-versions"))
        bao("kv", "undelete", "-versions=3", "secret/cli-versions")
        bao("kv", "delete", "-versions=1,2", "secret/cli-versions")
        bao("kv", "destroy", "-versions=1", "secret/cli-versions")
        versions = json.loads(
            bao("kv", "metadata", "get", "-format=json", "secret/cli-versions"))["data"]["versions"]
        self.assertTrue(versions["1"]["destroyed"])
        self.assertTrue(versions["2"]["deletion_time"])
        bao("kv", "metadata", "put", "-max-versions=5", "-custom-metadata=owner=ann",
            "secret/cli-versions")
        bao("kv", "metadata", "patch", "-custom-metadata=team=x", "secret/cli-versions")
        metadata = json.loads(bao("kv", "metadata", "get", "-format=json", "secret/cli-versions"))
        self.assertEqual(metadata["data"]["custom_metadata"], {"owner": "ann", "team": "x"})
        bao("kv", "metadata", "delete", "secret/cli-versions")
        bao("kv", "metadata", "get", "secret/cli-versions", code=2)

    def test_lists(self):
        bao("kv", "put", "secret/cli-list/a", "x=y")
        bao("kv", "put", "secret/cli-list/b/c", "x=y")
        self.assertEqual(data("kv", "list", "secret/cli-list"), ["a", "b/"])
        bao("kv", "list", "secret/cli-list/none", code=2)

    def test_version_one(self):
        bao("secrets", "enable", "-path=cli-v1", "-version=1", "kv")
        bao("kv", "put", "cli-v1/a", "x=y")
        self.assertEqual(data("kv", "get", "cli-v1/a")["data"], {"x": "y"})
        bao("write", "cli-v1/b", "x=z")
        self.assertEqual(bao("read", "-field=x", "cli-v1/b"), "z")
        self.assertEqual(data("list", "cli-v1"), ["a", "b"])
        bao("delete", "cli-v1/a")
        bao("read", "cli-v1/a", code=2)
        bao("kv", "enable-versioning", "cli-v1")
        bao("secrets", "disable", "cli-v1")


class Access(unittest.TestCase):
    def test_tokens(self):
        made = data("token", "create", "-policy=default", "-ttl=1h")["auth"]
        token = made["client_token"]
        self.assertEqual(data("token", "lookup", token=token)["data"]["creation_ttl"], 3600)
        bao("token", "lookup", "-accessor", made["accessor"])
        bao("token", "renew", "-increment=10m", token)
        bao("token", "renew", token=token)
        self.assertEqual(bao("token", "capabilities", token, "cubbyhole/a").strip(),
                         "create, delete, list, read, update")
        bao("token", "revoke", token)
        bao("token", "lookup", token, code=2)
        bao("login", "-no-print", ENV["BAO_TOKEN"])
        bao("login", "-no-print", "wrong", code=2)

    def test_policies(self):
        bao("policy", "write", "cli", "-", stdin='path "secret/data/cli-p" { capabilities = ["read"] }')
        self.assertIn("cli", bao("policy", "list").split())
        self.assertIn("cli-p", bao("policy", "read", "cli"))
        bao("kv", "put", "secret/cli-p", "x=y")
        token = data("token", "create", "-policy=cli")["auth"]["client_token"]
        self.assertEqual(bao("kv", "get", "-field=x", "secret/cli-p", token=token), "y")
        bao("kv", "put", "secret/cli-p", "x=z", token=token, code=2)
        bao("kv", "get", "secret/cli-none", token=token, code=2)
        bao("policy", "write", "cli-bad", "-", stdin="nonsense", code=2)
        bao("policy", "delete", "cli")

    def test_methods(self):
        bao("auth", "enable", "-path=cli-up", "userpass")
        bao("write", "auth/cli-up/users/ann", "password=pw", "token_policies=default")
        bao("login", "-no-print", "-method=userpass", "-path=cli-up", "username=ann",
            "password=pw")
        bao("write", "auth/cli-up/login/ann", "password=wrong", code=2)
        self.assertIn("cli-up/", data("auth", "list"))
        bao("auth", "tune", "-default-lease-ttl=1h", "cli-up/")
        bao("auth", "disable", "cli-up")
        bao("auth", "enable", "-path=cli-ar", "approle")
        bao("write", "auth/cli-ar/role/web", "token_policies=default")
        role = bao("read", "-field=role_id", "auth/cli-ar/role/web/role-id")
        wrapped = bao("write", "-wrap-ttl=60s", "-field=wrapping_token", "-f",
                      "auth/cli-ar/role/web/secret-id")
        secret = bao("unwrap", "-field=secret_id", wrapped)
        bao("unwrap", wrapped, code=2)
        bao("write", "auth/cli-ar/login", f"role_id={role}", f"secret_id={secret}")
        bao("auth", "disable", "cli-ar")


class System(unittest.TestCase):
    def test_status_and_mounts(self):
        self.assertFalse(data("status")["sealed"])
        bao("operator", "key-status")
        bao("operator", "rotate")
        bao("secrets", "enable", "-path=cli-m", "-description=d", "kv-v2")
        self.assertEqual(data("secrets", "list")["cli-m/"]["description"], "d")
        bao("secrets", "tune", "-max-lease-ttl=2h", "cli-m/")
        bao("secrets", "move", "cli-m/", "cli-n/")
        bao("secrets", "disable", "cli-n")
        bao("lease", "lookup", "none", code=2)
        bao("read", "no/such/mount", code=2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
