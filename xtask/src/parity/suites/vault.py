"""Stands on the PATH as `vault`: a client's suite starts its servers with it, and gets the server
that SUITE_SERVER names. Only the address and the TLS files of the suite's configuration are used."""

import json
import os
import sys

server, kind = os.environ["SUITE_SERVER"], os.environ["SUITE_KIND"]
words = sys.argv[1:]
if words[:1] in (["version"], ["-version"], ["--version"]):
    print("Vault v1.18.0 (0000000), built 2024-10-08T00:00:00Z")
    sys.exit(0)
if kind == "openbao":
    os.execv(server, ["bao", *words])
if words[:1] != ["server"]:
    sys.exit(f"the suite wants `vault {' '.join(words)}`")


def first(value):
    return value[0] if isinstance(value, list) else value


path = next(word.split("=", 1)[1] for word in words if word.startswith("-config="))
with open(path, encoding="utf-8") as file:
    listener = first(first(json.load(file)["listener"])["tcp"])
arguments = ["serve", "--storage", "memory", "--listen", listener["address"]]
if "tls_cert_file" in listener:
    arguments += ["--tls-cert", listener["tls_cert_file"], "--tls-key", listener["tls_key_file"]]
os.execv(server, ["strongroom", *arguments])
