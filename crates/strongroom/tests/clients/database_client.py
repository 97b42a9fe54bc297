"""hvac and bao, unmodified, with users of a PostgreSQL.

SERVER, TOKEN and BAO in the environment, and the database: HOST:PORT in DATABASE, with the user
`admin`, whose password is in DATABASE_PASSWORD and who may make members of the role `app`. OpenBao
passes all of it as well.
"""

import json
import os
import subprocess
import unittest

import hvac
from hvac import exceptions

SERVER = os.environ["SERVER"]
TOKEN = os.environ["TOKEN"]
BAO = os.environ["BAO"]
URL = ("postgresql://{{username}}:{{password}}@" + os.environ["DATABASE"]
       + "/postgres?sslmode=disable")
CREATE = ("CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' "
          "VALID UNTIL '{{expiration}}' IN ROLE app;")


def bao(*args):
    env = {"VAULT_ADDR": SERVER, "BAO_ADDR": SERVER, "BAO_TOKEN": TOKEN, "VAULT_TOKEN": TOKEN,
           "HOME": os.environ["HOME"], "PATH": os.environ["PATH"]}
    done = subprocess.run([BAO, *args], env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


class Databases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = hvac.Client(url=SERVER, token=TOKEN)
        cls.client.sys.enable_secrets_engine("database", path="hvac-db")
        cls.db = cls.client.secrets.database
        cls.db.configure(
            name="pg", plugin_name="postgresql-database-plugin", allowed_roles=["*"],
            mount_point="hvac-db", connection_url=URL, username="admin",
            password=os.environ["DATABASE_PASSWORD"])
        cls.db.create_role(
            name="app", db_name="pg", creation_statements=[CREATE], default_ttl="1h",
            max_ttl="24h", mount_point="hvac-db")

    @classmethod
    def tearDownClass(cls):
        cls.client.sys.disable_secrets_engine("hvac-db")

    def test_configuration(self):
        db = self.db
        self.assertEqual(db.list_connections(mount_point="hvac-db")["data"]["keys"], ["pg"])
        read = db.read_connection("pg", mount_point="hvac-db")["data"]
        self.assertEqual(read["connection_details"]["username"], "admin")
        self.assertNotIn("password", read["connection_details"])
        self.assertIn("app", db.list_roles(mount_point="hvac-db")["data"]["keys"])
        role = db.read_role("app", mount_point="hvac-db")["data"]
        self.assertEqual((role["db_name"], role["default_ttl"]), ("pg", 3600))
        db.reset_connection("pg", mount_point="hvac-db")
        with self.assertRaises(exceptions.InvalidPath):
            db.read_connection("none", mount_point="hvac-db")

    def test_life_of_a_user(self):
        made = self.db.generate_credentials("app", mount_point="hvac-db")
        self.assertEqual((made["lease_duration"], made["renewable"]), (3600, True))
        self.assertTrue(made["data"]["username"].startswith("v-"))
        lease = made["lease_id"]
        looked = self.client.sys.read_lease(lease)["data"]
        self.assertEqual(looked["id"], lease)
        tail = lease.rsplit("/", 1)[1]
        listed = self.client.sys.list_leases("hvac-db/creds/app/")["data"]["keys"]
        self.assertIn(tail, listed)
        renewed = self.client.sys.renew_lease(lease, increment=1800)
        self.assertEqual(renewed["lease_duration"], 1800)
        self.client.sys.revoke_lease(lease)
        with self.assertRaises(exceptions.InvalidRequest):
            self.client.sys.read_lease(lease)
        self.db.generate_credentials("app", mount_point="hvac-db")
        self.client.sys.revoke_prefix("hvac-db/creds/app")
        with self.assertRaises(exceptions.InvalidPath):
            self.client.sys.list_leases("hvac-db/creds/app/")

    def test_static_role(self):
        db = self.db
        db.create_static_role(
            name="fixed", db_name="pg", username="fixed", rotation_statements=[],
            rotation_period=3600, mount_point="hvac-db")
        first = db.get_static_credentials("fixed", mount_point="hvac-db")["data"]
        self.assertEqual((first["username"], first["rotation_period"]), ("fixed", 3600))
        db.rotate_static_role_credentials("fixed", mount_point="hvac-db")
        second = db.get_static_credentials("fixed", mount_point="hvac-db")["data"]
        self.assertNotEqual(first["password"], second["password"])
        self.assertEqual(db.list_static_roles(mount_point="hvac-db")["data"]["keys"], ["fixed"])
        db.delete_static_role("fixed", mount_point="hvac-db")

    def test_root_rotation(self):
        self.db.rotate_root_credentials("pg", mount_point="hvac-db")
        made = self.db.generate_credentials("app", mount_point="hvac-db")
        self.client.sys.revoke_lease(made["lease_id"])

    def test_unknown_role(self):
        with self.assertRaises(exceptions.InvalidRequest) as caught:
            self.db.generate_credentials("none", mount_point="hvac-db")
        self.assertIn("unknown role: none", str(caught.exception))

    def test_bao(self):
        code, out, err = bao("read", "-format=json", "hvac-db/creds/app")
        self.assertEqual(code, 0, err)
        made = json.loads(out)
        lease = made["lease_id"]
        code, out, err = bao("lease", "renew", "-increment=20m", "-format=json", lease)
        self.assertEqual((code, json.loads(out)["lease_duration"]), (0, 1200), err)
        code, out, err = bao("lease", "lookup", lease)
        self.assertEqual(code, 0, err)
        code, out, err = bao("lease", "revoke", lease)
        self.assertEqual(code, 0, err)
        code, out, err = bao("lease", "revoke", "-prefix", "hvac-db/creds/app")
        self.assertEqual(code, 0, err)


if __name__ == "__main__":
    unittest.main()
