"""AWS's caching library, unmodified, against the server."""

import uuid

import botocore.session
from aws_secretsmanager_caching import InjectKeywordedSecretString
from aws_secretsmanager_caching import SecretCache
from aws_secretsmanager_caching import SecretCacheConfig

client = botocore.session.get_session().create_client("secretsmanager")


def main():
    name = f"cached-{uuid.uuid4()}"
    client.create_secret(Name=name, SecretString='{"user":"u","password":"p"}')
    config = SecretCacheConfig(secret_refresh_interval=3600)
    cache = SecretCache(config=config, client=client)
    assert cache.get_secret_string(name) == '{"user":"u","password":"p"}'
    client.put_secret_value(SecretId=name, SecretString='{"user":"v","password":"q"}')
    assert cache.get_secret_string(name) == '{"user":"u","password":"p"}'
    fresh = SecretCache(client=client)
    assert fresh.get_secret_string(name) == '{"user":"v","password":"q"}'
    assert fresh.get_secret_string(name, "AWSPREVIOUS") == '{"user":"u","password":"p"}'

    @InjectKeywordedSecretString(name, fresh, user="user", password="password")
    def connect(user, password):
        return user, password

    assert connect() == ("v", "q")
    client.create_secret(Name=f"{name}-binary", SecretBinary=b"\0\1\xff")
    assert fresh.get_secret_binary(f"{name}-binary") == b"\0\1\xff"
    print("passed")


main()
