"""A rotation function of AWS behind an endpoint, driven through boto3 against the real binary:
stages after each step, failures and what comes after them, and kill -9 between any two steps.

The function and its shim are those of `examples/aws-rotation-function`, unmodified; here it can be
told to fail at a step, or to wait there.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid

sys.path.insert(0, os.environ["EXAMPLE"])
os.environ["PASSWORD_FILE"] = os.path.abspath("passwords.json")
os.environ["STRONGROOM_SIGNING_KEY_FILE"] = os.path.abspath("signing.key")

import boto3
import botocore.config
import botocore.exceptions

import rotate
import service
import shim

PROGRAM, PORT = os.environ["STRONGROOM"], os.environ["PORT"]
URL = f"http://127.0.0.1:{PORT}"
STEPS = ["createSecret", "setSecret", "testSecret", "finishSecret"]
ARN = "arn:aws:lambda:eu-central-1:000000000000:function:app-user"
DEADLINE = 120
CANARY = "canary-first-7c2e"


def until(what, is_done):
    start = time.monotonic()
    while True:
        found = is_done()
        if found:
            return found
        assert time.monotonic() - start < DEADLINE, f"{what}: {log()}"
        time.sleep(0.05)


def log():
    with open("server.log") as file:
        return file.read()[-4000:]


class Server:
    """`strongroom serve` over a store file."""

    def start(self):
        output = open("server.log", "ab")
        words = [PROGRAM, "serve", "--listen", f"127.0.0.1:{PORT}", "--audit-folder", "."]
        words += ["--region", "eu-central-1"]
        self.process = subprocess.Popen(words, stdout=output, stderr=output)
        until("the server starts", self.is_up)

    def is_up(self):
        assert self.process.poll() is None, log()
        try:
            socket.create_connection(("127.0.0.1", int(PORT)), 1).close()
            return True
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Gate:
    """The function as it is called: it can be told to fail at a step, or to wait there."""

    def __init__(self):
        self.fails, self.waits, self.calls = set(), None, []
        self.holds, self.held = {}, set()
        self.reached, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, event, context):
        step = event["Step"]
        self.calls.append(step)
        assert set(event) == {"Step", "SecretId", "ClientRequestToken"}, sorted(event)
        if step in self.fails:
            raise RuntimeError("told to fail")
        name = event["SecretId"].split(":secret:")[1][:-7]
        if step in (self.waits, self.holds.get(name)):
            self.held.add(name)
            self.reached.set()
            self.goes_on.wait()
        rotate.lambda_handler(event, context)


def sr(*words, given=""):
    environment = dict(os.environ, STRONGROOM_ADDR=URL, STRONGROOM_TOKEN=TOKEN)
    return subprocess.run(
        [PROGRAM, *words], env=environment, input=given, capture_output=True, text=True
    )


def key(policy):
    made = sr("auth", "aws-key", "create", "--policy", policy, "--json")
    assert made.returncode == 0, made.stderr
    made = json.loads(made.stdout)
    return made["access_key_id"], made["secret_access_key"]


server = Server()
server.start()
done = subprocess.run([PROGRAM, "operator", "root-token"], capture_output=True, text=True)
assert done.returncode == 0, done.stderr
TOKEN = done.stdout.strip()
# The function may do what the README says, and no more.
with open(os.path.join(os.environ["EXAMPLE"], "README.md")) as file:
    policy = file.read().split("<<'POLICY'\n")[1].split("POLICY\n")[0]
written = sr("policy", "write", "rotator", "-", given=policy)
assert written.returncode == 0, written.stderr
os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = key("rotator")
os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = URL
own_id, own_secret = key("root")
client = boto3.client(
    "secretsmanager",
    aws_access_key_id=own_id,
    aws_secret_access_key=own_secret,
    config=botocore.config.Config(retries={"max_attempts": 8, "mode": "standard"}),
)

gate = Gate()
endpoint = shim.serve(0, gate)
threading.Thread(target=endpoint.serve_forever, daemon=True).start()
endpoint_url = f"http://127.0.0.1:{endpoint.server_address[1]}/"
added = sr("rotate", "rotators", "add", "app-user", "--endpoint", endpoint_url)
assert added.returncode == 0, added.stderr
with open("signing.key", "w") as file:
    file.write(added.stdout)


def secret():
    name = f"db/{uuid.uuid4()}"
    value = {"username": name, "password": CANARY}
    service.add_user(name, CANARY)
    made = client.create_secret(Name=name, SecretString=json.dumps(value))
    return name, made["VersionId"]


def works(name):
    """The value that consumers read now is one that the service accepts now."""
    value = json.loads(client.get_secret_value(SecretId=name)["SecretString"])
    assert service.accepts(value["username"], value["password"])
    return value["password"]


def stages(name):
    return client.describe_secret(SecretId=name)["VersionIdsToStages"]


def status(name):
    done = sr("rotate", "status", name, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rotations"][0]


def begin(name, **more):
    token = str(uuid.uuid4())
    asked = client.rotate_secret(
        SecretId=name, RotationLambdaARN=ARN, ClientRequestToken=token,
        RotationRules={"ScheduleExpression": "rate(30 days)"}, **more,
    )
    assert asked["VersionId"] == token
    return token


def finished(name, first, token):
    found = until("it is finished", lambda: "AWSCURRENT" in stages(name).get(token, []) and stages(name))
    assert found[first] == ["AWSPREVIOUS"], found
    assert [v for v, s in found.items() if "AWSCURRENT" in s] == [token], found
    assert [v for v, s in found.items() if "AWSPENDING" in s] in ([], [token]), found
    until("it is noted", lambda: status(name)["run"] is None)
    assert works(name) != CANARY
    about = client.describe_secret(SecretId=name)
    assert about["RotationEnabled"] and about["RotationLambdaARN"] == ARN
    assert about["NextRotationDate"] > about["LastRotatedDate"]


def test_stages_after_each_step():
    for at, step in enumerate(STEPS):
        name, first = secret()
        gate.__init__()
        gate.waits = step
        token = begin(name)
        assert gate.reached.wait(DEADLINE), log()
        found = stages(name)
        assert found == {first: ["AWSCURRENT"], token: ["AWSPENDING"]}, (step, found)
        assert works(name) == CANARY
        assert status(name)["run"]["step"] == step
        try:
            client.get_secret_value(SecretId=name, VersionId=token, VersionStage="AWSPENDING")
            has_value = True
        except client.exceptions.ResourceNotFoundException:
            has_value = False
        assert has_value == (at > 0), step
        gate.goes_on.set()
        finished(name, first, token)
        assert gate.calls == STEPS, gate.calls


def test_a_failure_leaves_the_current_value():
    for step in STEPS:
        name, first = secret()
        gate.__init__()
        gate.fails = {step}
        token = begin(name)
        until("it fails", lambda: status(name)["failed_steps"] > 0)
        assert works(name) == CANARY
        run = status(name)["run"]
        assert run["failure"]["step"] == step and "AWSCURRENT" in stages(name)[first]
        try:
            client.rotate_secret(SecretId=name)
            assert False, "a second rotation began"
        except client.exceptions.InvalidRequestException as error:
            assert "previous rotation isn't complete" in str(error), error
        refused = sr("rotate", name)
        assert refused.returncode == 1 and step in refused.stderr, refused.stderr
        gate.fails = set()
        done = sr("rotate", name)
        assert done.returncode == 0, done.stderr
        finished(name, first, token)


def test_one_is_given_up_and_one_is_cancelled():
    name, first = secret()
    gate.__init__()
    gate.fails = {"testSecret"}
    begin(name)
    until("it fails", lambda: status(name)["failed_steps"] > 0)
    assert sr("rotate", "abort", name).returncode == 0
    assert stages(name) == {first: ["AWSCURRENT"]}
    assert sr("rotate", "abort", name).returncode == 3
    gate.fails = set()
    finished(name, first, begin(name))
    client.cancel_rotate_secret(SecretId=name)
    about = client.describe_secret(SecretId=name)
    assert not about["RotationEnabled"] and "NextRotationDate" not in about


def test_a_function_is_tried_without_a_new_value():
    name, first = secret()
    gate.__init__()
    begin(name, RotateImmediately=False)
    until("it is tried", lambda: status(name)["run"] is None)
    assert gate.calls == ["testSecret"], gate.calls
    assert stages(name) == {first: ["AWSCURRENT"]} and works(name) == CANARY


def test_kill_between_steps():
    # One secret is held at each step; they all go on when the leases of the killed server end.
    gate.__init__()
    made = [(step, *secret()) for step in STEPS]
    gate.holds = {name: step for step, name, first in made}
    begun = [(name, first, begin(name)) for step, name, first in made]
    until("all are held", lambda: len(gate.held) == len(STEPS))
    server.kill()
    gate.holds = {}
    gate.goes_on.set()
    server.start()
    for name, first, token in begun:
        works(name)
    for name, first, token in begun:
        finished(name, first, token)


def test_a_stranger_has_it_do_nothing():
    gate.__init__()
    event = {"Step": "createSecret", "SecretId": "x", "ClientRequestToken": "y"}
    request = urllib.request.Request(endpoint_url, json.dumps(event).encode())
    request.add_header("X-Strongroom-Timestamp", str(int(time.time())))
    request.add_header("X-Strongroom-Signature", "v1=" + "0" * 64)
    try:
        urllib.request.urlopen(request)
        assert False, "it was accepted"
    except urllib.error.HTTPError as error:
        assert error.code == 403, error.code
    assert gate.calls == []


def test_no_value_is_told():
    passwords = {CANARY}
    for page in client.get_paginator("list_secrets").paginate():
        for one in page["SecretList"]:
            passwords.add(works(one["Name"]))
    assert len(passwords) > 4
    told = log() + open("audit.log").read()
    for password in passwords:
        assert password not in told, "a value is told"
    for step in STEPS:
        assert f'"rotation":"{step}"' in told, step


try:
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            print(name, flush=True)
            test()
finally:
    server.kill()
