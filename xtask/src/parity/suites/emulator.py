"""A plugin of pytest: moto's own tests talk to the server that SUITE_SERVER names instead of to
moto. Each test gets a server of its own, as it would get an empty moto. Where SUITE_SERVER is not
set, moto answers as it does by itself."""

import contextlib
import functools
import inspect
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid

import boto3
import moto
import moto.server
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session
from moto import settings

SERVER = os.environ.get("SUITE_SERVER")
# moto's own; its tests compare names with it.
ACCOUNT = "123456789012"
REGION = "us-east-1"
WITH_TOKEN = ["CreateSecret", "PutSecretValue", "UpdateSecret", "RotateSecret"]
ENDPOINTS = ["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_STS"]


class Neutral(contextlib.ContextDecorator):
    """Stands for `mock_aws`, with arguments and without, and mocks nothing."""

    def __new__(cls, function=None, **_):
        if inspect.isclass(function):
            return function
        if function is not None:
            return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))
        return super().__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def start(self, *_, **__):
        pass

    stop = reset = start


class Answer:
    """What a test client of Flask gives back. Texts of errors are called `message` by moto and
    `Message` by AWS; clients read both."""

    def __init__(self, status, data):
        told = json.loads(data) if data else {}
        if "Message" in told:
            told.setdefault("message", told["Message"])
        self.status_code, self.data, self.json = status, json.dumps(told).encode(), told


class Client:
    """Sends what moto's tests send to moto's application, as every client of AWS does: signed,
    and with a token where the operation wants one."""

    def post(self, path, json=None, data=None, headers=None):
        body, headers = json, headers or {}
        if body is None:
            body = globals()["json"].loads(data) if data else {}
        if headers.get("X-Amz-Target", "").split(".")[-1] in WITH_TOKEN:
            body = {"ClientRequestToken": str(uuid.uuid4()), **body}
        body = globals()["json"].dumps(body).encode()
        url = os.environ[ENDPOINTS[0]] + path
        request = AWSRequest("POST", url, data=body, headers=headers)
        credentials = Session().get_credentials()
        SigV4Auth(credentials, "secretsmanager", REGION).add_auth(request)
        request = urllib.request.Request(url, body, dict(request.headers), method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                return Answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read())


class Application:
    def test_client(self):
        return Client()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(url, path, body):
    request = urllib.request.Request(
        url + "/v1/" + path,
        json.dumps(body).encode() if body is not None else None,
        {"X-Vault-Token": "root"},
        method="GET" if body is None else "POST",
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def wait_for(url, child):
    while True:
        try:
            return ask(url, "sys/seal-status", None)
        except OSError:
            if child.poll() is not None:
                raise RuntimeError("the server does not start")
            time.sleep(0.01)


if SERVER is not None:
    # Before anything of the suite is imported.
    moto.mock_aws = Neutral
    moto.server.create_backend_app = lambda _service: Application()
    settings.TEST_DECORATOR_MODE = False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if SERVER is None:
        return (yield)
    # The tests of moto's web application want no server beside it.
    settings.TEST_SERVER_MODE = "test_server.py" not in item.nodeid
    url = f"http://127.0.0.1:{free_port()}"
    listen = url.removeprefix("http://")
    arguments = ["serve", "--dev", "--dev-root-token-id", "root", "--listen", listen]
    with subprocess.Popen(
        [SERVER, *arguments, "--account", ACCOUNT],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            wait_for(url, child)
            key = ask(url, "sys/aws/keys", {"policies": ["root"]})["data"]
            os.environ["AWS_ACCESS_KEY_ID"] = key["access_key_id"]
            os.environ["AWS_SECRET_ACCESS_KEY"] = key["secret_access_key"]
            for name in ENDPOINTS:
                os.environ[name] = url
            # A session remembers the key of the test before.
            boto3.DEFAULT_SESSION = None
            return (yield)
        finally:
            child.kill()
