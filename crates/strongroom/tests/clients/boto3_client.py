"""Secrets Manager through boto3, unmodified: every operation, its refusals, and the same secrets
through hvac. AWS's documentation and botocore's model say what is right.
"""

import base64
import json
import os
import random
import sys
import time
import traceback
import urllib.error
import urllib.request
import uuid

import boto3
import botocore.config
import botocore.exceptions
import hvac

CONFIG = botocore.config.Config(retries={"max_attempts": 0}, parameter_validation=True)
LOOSE = botocore.config.Config(retries={"max_attempts": 0}, parameter_validation=False)
client = boto3.client("secretsmanager", config=CONFIG)
loose = boto3.client("secretsmanager", config=LOOSE)
vault = hvac.Client(url=os.environ["SERVER"], token=os.environ["TOKEN"])
vault.secrets.kv.v2.configure(mount_point="secret")

ARN = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:"
VALUES = [
    "plain", "123456", "true", "null", '"quoted"', "[1,2]", "a\nb\r\n", " spaces ", "tab\t",
    "ünïcödé 漢字 🔑", "back\\slash", "nul\0byte", "</script>", "${VAR} $(x) `y`", "%2F%00",
    "x" * 65536, "é" * 32768, '{"a":', "{", "\ufeffbom",
]
OBJECTS = [
    '{"user":"u","password":"p\\"q"}', '{ "a" : 1.50,\n "b": 12345678901234567890 }', "{}",
    '{"value":"x"}', '{"value":1}', '{"nested":{"deep":[1,{"x":null}]}}', '{"ü":"漢"}',
]


def refused(code, call, *args, **kwargs):
    """Expects a refusal; its message."""
    try:
        answer = call(*args, **kwargs)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, (code, found)
        return found["Message"]
    raise AssertionError(f"{code} was expected: {answer}")


def name(text="s"):
    return f"{text}-{uuid.uuid4()}"


def make(**more):
    made = client.create_secret(**{"Name": name(), "SecretString": "first", **more})
    return made["Name"], made


def value(secret, **more):
    return client.get_secret_value(SecretId=secret, **more)["SecretString"]


def test_a_secret_is_made_and_read():
    secret, made = make(Description="d", Tags=[{"Key": "team", "Value": "shop"}])
    assert made["ARN"].startswith(ARN + secret + "-"), made
    assert len(made["ARN"]) == len(ARN + secret) + 7
    read = client.get_secret_value(SecretId=secret)
    assert read["SecretString"] == "first" and read["ARN"] == made["ARN"]
    assert read["Name"] == secret and read["VersionStages"] == ["AWSCURRENT"]
    assert read["VersionId"] == made["VersionId"]
    assert abs(read["CreatedDate"].timestamp() - time.time()) < 60
    for way in [made["ARN"], made["ARN"][:-7]]:
        assert value(way) == "first"
    described = client.describe_secret(SecretId=secret)
    assert described["Description"] == "d"
    assert described["Tags"] == [{"Key": "team", "Value": "shop"}]
    assert described["VersionIdsToStages"] == {made["VersionId"]: ["AWSCURRENT"]}
    day = described["LastAccessedDate"]
    assert day.timestamp() % 86400 == 0, day
    for absent in ["KmsKeyId", "RotationEnabled", "DeletedDate", "ReplicationStatus"]:
        assert absent not in described, described


def test_a_secret_may_have_no_value_yet():
    secret = name()
    made = client.create_secret(Name=secret)
    assert "VersionId" not in made
    message = refused("ResourceNotFoundException", client.get_secret_value, SecretId=secret)
    assert "staging label: AWSCURRENT" in message, message
    assert "VersionIdsToStages" not in client.describe_secret(SecretId=secret)
    assert "LastAccessedDate" not in client.describe_secret(SecretId=secret)
    client.put_secret_value(SecretId=secret, SecretString="a")
    assert value(secret) == "a"


def test_making_it_once_more_changes_nothing():
    secret, token = name(), str(uuid.uuid4())
    one = client.create_secret(Name=secret, SecretString="a", ClientRequestToken=token)
    two = client.create_secret(Name=secret, SecretString="a", ClientRequestToken=token)
    assert one["ARN"] == two["ARN"] and one["VersionId"] == two["VersionId"] == token
    message = refused(
        "ResourceExistsException", client.create_secret,
        Name=secret, SecretString="b", ClientRequestToken=token,
    )
    expected = (
        f"You can't use ClientRequestToken {token} because that value is already in use for a "
        f"version of secret {one['ARN']}."
    )
    assert message == expected, message
    refused("ResourceExistsException", client.create_secret, Name=secret, SecretString="a")


def test_names_are_checked():
    for bad in ["bad name!*", "a%", "ä", "a\nb"]:
        message = refused(
            "ValidationException", client.create_secret, Name=bad, SecretString="a"
        )
        assert message.startswith("Invalid name. Must be a valid name"), message
    for odd in ["/lead", "trail/", "a//b", "a/./b", "..", "x_+=.@!-9"]:
        odd = odd if odd != ".." else f"{name()}/.."
        odd += "" if odd.endswith("/") else str(random.random())[2:]
        made = client.create_secret(Name=odd, SecretString="odd")
        assert made["Name"] == odd and made["ARN"].startswith(ARN + odd + "-")
        assert value(odd) == value(made["ARN"]) == "odd"
        client.delete_secret(SecretId=odd, ForceDeleteWithoutRecovery=True)
    client.create_secret(Name="n" * 512, SecretString="a")
    refused("ValidationException", loose.create_secret, Name="n" * 513, SecretString="a")


def test_versions_move_through_the_stages():
    secret, made = make()
    first = made["VersionId"]
    put = client.put_secret_value(SecretId=secret, SecretString="second")
    second = put["VersionId"]
    assert put["VersionStages"] == ["AWSCURRENT"]
    assert value(secret) == "second"
    assert value(secret, VersionStage="AWSPREVIOUS") == "first"
    assert value(secret, VersionId=first) == "first"
    third = client.update_secret(SecretId=secret, SecretString="third")["VersionId"]
    stages = client.describe_secret(SecretId=secret)["VersionIdsToStages"]
    assert stages == {second: ["AWSPREVIOUS"], third: ["AWSCURRENT"]}, stages
    assert value(secret, VersionId=first) == "first"
    listed = client.list_secret_version_ids(SecretId=secret)["Versions"]
    assert {version["VersionId"] for version in listed} == {second, third}
    every = client.list_secret_version_ids(SecretId=secret, IncludeDeprecated=True)["Versions"]
    assert {version["VersionId"] for version in every} == {first, second, third}
    assert all(version["KmsKeyIds"] == ["DefaultEncryptionKey"] for version in every)
    old = [version for version in every if version["VersionId"] == first]
    assert "VersionStages" not in old[0], old
    message = refused(
        "InvalidRequestException", client.get_secret_value,
        SecretId=secret, VersionId=first, VersionStage="AWSCURRENT",
    )
    assert "not associated" in message
    refused(
        "ResourceNotFoundException", client.get_secret_value,
        SecretId=secret, VersionId=str(uuid.uuid4()),
    )
    refused(
        "ResourceNotFoundException", client.get_secret_value, SecretId=secret, VersionStage="none"
    )


def test_each_version_has_the_day_it_was_read():
    secret, made = make()
    ids = [made["VersionId"]]
    for text in ["second", "third"]:
        ids.append(client.put_secret_value(SecretId=secret, SecretString=text)["VersionId"])

    def days():
        every = client.list_secret_version_ids(SecretId=secret, IncludeDeprecated=True)["Versions"]
        days = {version["VersionId"]: version.get("LastAccessedDate") for version in every}
        assert all(day is None or day.timestamp() % 86400 == 0 for day in days.values()), days
        return [days[id] is not None for id in ids]

    assert days() == [False, False, False]
    value(secret, VersionId=ids[0])
    assert days() == [True, False, False]
    assert "LastAccessedDate" in client.describe_secret(SecretId=secret)
    value(secret)
    assert days() == [True, False, True]
    client.batch_get_secret_value(SecretIdList=[secret])
    value(secret, VersionStage="AWSPREVIOUS")
    assert days() == [True, True, True]
    # Nothing is left of them when another secret of the name is made.
    client.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    ids = [client.create_secret(Name=secret, SecretString="anew")["VersionId"]]
    assert days() == [False]


def test_a_pending_version_is_rotated_in():
    secret, made = make()
    first, token = made["VersionId"], str(uuid.uuid4())
    put = client.put_secret_value(
        SecretId=secret, SecretString="next", ClientRequestToken=token,
        VersionStages=["AWSPENDING"],
    )
    assert put["VersionId"] == token and put["VersionStages"] == ["AWSPENDING"]
    assert value(secret) == "first"
    assert value(secret, VersionStage="AWSPENDING") == "next"
    read = vault.secrets.kv.v2.read_secret_version(path=secret, raise_on_deleted_version=True)
    assert read["data"]["data"] == {"value": "first"}
    # Nothing happens when it is sent again.
    client.put_secret_value(
        SecretId=secret, SecretString="next", ClientRequestToken=token,
        VersionStages=["AWSPENDING"],
    )
    refused(
        "ResourceExistsException", client.put_secret_value,
        SecretId=secret, SecretString="other", ClientRequestToken=token,
    )
    message = refused(
        "InvalidParameterException", client.update_secret_version_stage,
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token,
    )
    assert f"currently attached to version {first}" in message, message
    client.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token,
        RemoveFromVersionId=first,
    )
    assert value(secret) == "next"
    stages = client.describe_secret(SecretId=secret)["VersionIdsToStages"]
    assert sorted(stages[token]) == ["AWSCURRENT", "AWSPENDING"], stages
    assert stages[first] == ["AWSPREVIOUS"], stages
    client.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSPENDING", RemoveFromVersionId=token
    )
    stages = client.describe_secret(SecretId=secret)["VersionIdsToStages"]
    assert stages[token] == ["AWSCURRENT"], stages
    read = vault.secrets.kv.v2.read_secret_version(path=secret, raise_on_deleted_version=True)
    assert read["data"]["data"] == {"value": "next"}
    message = refused(
        "InvalidParameterException", client.update_secret_version_stage,
        SecretId=secret, VersionStage="AWSCURRENT", RemoveFromVersionId=token,
    )
    assert "can't be completely removed" in message, message


def test_an_earlier_version_is_made_current_again():
    secret, made = make()
    first = made["VersionId"]
    second = client.put_secret_value(SecretId=secret, SecretString="second")["VersionId"]
    third = client.put_secret_value(SecretId=secret, SecretString="third")["VersionId"]
    client.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=first,
        RemoveFromVersionId=third,
    )
    assert value(secret) == "first"
    assert value(secret, VersionStage="AWSPREVIOUS") == "third"
    assert value(secret, VersionId=second) == "second"
    read = vault.secrets.kv.v2.read_secret_version(path=secret, raise_on_deleted_version=True)
    assert read["data"]["data"] == {"value": "first"} and read["data"]["metadata"]["version"] == 1
    vault.secrets.kv.v2.create_or_update_secret(path=secret, secret={"value": "fourth"})
    assert value(secret) == "fourth"
    assert value(secret, VersionStage="AWSPREVIOUS") == "first"
    assert value(secret, VersionId=third) == "third"
    read = vault.secrets.kv.v2.read_secret_version(path=secret, version=3,
                                                   raise_on_deleted_version=True)
    assert read["data"]["data"] == {"value": "third"}


def test_own_labels_stay_with_their_versions():
    secret, made = make()
    put = client.put_secret_value(
        SecretId=secret, SecretString="b", VersionStages=["AWSCURRENT", "blue"]
    )
    assert sorted(put["VersionStages"]) == ["AWSCURRENT", "blue"], put
    moved = client.put_secret_value(SecretId=secret, SecretString="c", VersionStages=["blue"])
    assert moved["VersionStages"] == ["blue"]
    assert value(secret) == "b" and value(secret, VersionStage="blue") == "c"
    client.update_secret_version_stage(
        SecretId=secret, VersionStage="green", MoveToVersionId=made["VersionId"]
    )
    assert value(secret, VersionStage="green") == "first"
    for number in range(30):
        client.put_secret_value(SecretId=secret, SecretString=str(number))
    assert value(secret, VersionStage="green") == "first"


def test_many_versions_are_kept_while_they_are_young():
    secret, made = make()
    for number in range(104):
        client.put_secret_value(SecretId=secret, SecretString=str(number))
    page = client.list_secret_version_ids(SecretId=secret, IncludeDeprecated=True, MaxResults=60)
    count = len(page["Versions"])
    assert count == 60
    page = client.list_secret_version_ids(
        SecretId=secret, IncludeDeprecated=True, NextToken=page["NextToken"]
    )
    assert count + len(page["Versions"]) == 105 and "NextToken" not in page
    assert value(secret, VersionId=made["VersionId"]) == "first"


def test_binary_values_come_back():
    data = bytes(range(256)) * 256
    secret = name()
    client.create_secret(Name=secret, SecretBinary=data)
    read = client.get_secret_value(SecretId=secret)
    assert read["SecretBinary"] == data and "SecretString" not in read
    seen = vault.secrets.kv.v2.read_secret_version(path=secret, raise_on_deleted_version=True)
    assert base64.b64decode(seen["data"]["data"]["value"]) == data
    client.put_secret_value(SecretId=secret, SecretString="text")
    assert value(secret) == "text"
    refused(
        "ValidationException", loose.create_secret, Name=name(), SecretBinary=data + b"x"
    )


def test_values_are_the_same_through_both_doors():
    for text in VALUES:
        secret, _ = make(SecretString=text)
        assert value(secret) == text
        seen = vault.secrets.kv.v2.read_secret_version(path=secret, raise_on_deleted_version=True)
        assert seen["data"]["data"] == {"value": text}, text[:40]
        vault.secrets.kv.v2.create_or_update_secret(path=secret, secret={"value": text + "."})
        assert value(secret) == text + "."
    for text in OBJECTS:
        secret, _ = make(SecretString=text)
        assert value(secret) == text
        seen = vault.secrets.kv.v2.read_secret_version(path=secret, raise_on_deleted_version=True)
        assert seen["data"]["data"] == json.loads(text), text
    for fields in [{"a": 1, "b": [True, None]}, {"ü": "漢"}, {"value": "x", "more": "y"}]:
        secret = name()
        vault.secrets.kv.v2.create_or_update_secret(path=secret, secret=fields)
        assert json.loads(value(secret)) == fields
        made = client.describe_secret(SecretId=secret)
        assert made["ARN"].startswith(ARN + secret + "-")
        ids = list(made["VersionIdsToStages"])
        assert value(secret, VersionId=ids[0]) == value(secret)
        assert client.get_secret_value(SecretId=secret)["VersionId"] == ids[0]
        uuid.UUID(ids[0])


def test_values_come_back_from_a_journey():
    """From hvac through boto3 and back, to the letter."""

    def seen(secret):
        read = vault.secrets.kv.v2.read_secret_version(path=secret, raise_on_deleted_version=True)
        return read["data"]["data"]

    written = [{"value": text} for text in VALUES]
    written += [json.loads(text) for text in OBJECTS]
    written += [{"long": "é" * 32000, "nested": {"list": [1, 2.5, None, True, "x" * 1000]}}]
    for fields in written:
        secret = name()
        vault.secrets.kv.v2.create_or_update_secret(path=secret, secret=fields)
        assert seen(secret) == fields
        text = value(secret)
        client.put_secret_value(SecretId=secret, SecretString=text)
        assert value(secret) == text and seen(secret) == fields, text[:40]
        # And once more, with another value between: nothing of it is left.
        client.put_secret_value(SecretId=secret, SecretString="between")
        vault.secrets.kv.v2.create_or_update_secret(path=secret, secret=seen_before(secret, 2))
        assert value(secret) == text and seen(secret) == fields, text[:40]
    for binary in [bytes(range(256)), b"\xff" * 65536, os.urandom(65536)]:
        secret = client.create_secret(Name=name(), SecretBinary=binary)["Name"]
        fields = seen(secret)
        assert fields["encoding"] == "base64" and base64.b64decode(fields["value"]) == binary
        raw = base64.b64decode(seen_before(secret, 1)["value"])
        client.put_secret_value(SecretId=secret, SecretBinary=raw)
        assert client.get_secret_value(SecretId=secret)["SecretBinary"] == binary


def seen_before(secret, version):
    read = vault.secrets.kv.v2.read_secret_version(
        path=secret, version=version, raise_on_deleted_version=True
    )
    return read["data"]["data"]


def test_what_vault_deletes_is_gone_here():
    secret, _ = make()
    vault.secrets.kv.v2.delete_latest_version_of_secret(path=secret)
    refused("ResourceNotFoundException", client.get_secret_value, SecretId=secret)
    vault.secrets.kv.v2.undelete_secret_versions(path=secret, versions=[1])
    assert value(secret) == "first"
    vault.secrets.kv.v2.delete_metadata_and_all_versions(path=secret)
    refused("ResourceNotFoundException", client.describe_secret, SecretId=secret)


def test_values_have_bounds():
    secret, _ = make()
    message = refused(
        "ValidationException", loose.put_secret_value, SecretId=secret, SecretString="x" * 65537
    )
    assert "65536" in message and "xxxx" not in message, message
    refused(
        "InvalidRequestException", client.put_secret_value, SecretId=secret
    )
    refused(
        "InvalidParameterException", client.put_secret_value,
        SecretId=secret, SecretString="a", SecretBinary=b"a",
    )
    refused(
        "InvalidParameterException", loose.put_secret_value,
        SecretId=secret, SecretString="a", ClientRequestToken="short",
    )
    assert value(secret) == "first"


def test_a_deletion_can_be_taken_back():
    secret, made = make()
    deleted = client.delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    left = deleted["DeletionDate"].timestamp() - time.time()
    assert abs(left - 7 * 86400) < 60, deleted
    for call, more in [
        (client.get_secret_value, {}), (client.put_secret_value, {"SecretString": "x"}),
        (client.update_secret, {"Description": "x"}), (client.delete_secret, {}),
        (client.tag_resource, {"Tags": [{"Key": "a", "Value": "b"}]}),
        (client.untag_resource, {"TagKeys": ["a"]}), (client.get_resource_policy, {}),
    ]:
        message = refused("InvalidRequestException", call, SecretId=secret, **more)
        assert message == (
            "You can't perform this operation on the secret because it was marked for deletion."
        ), message
    message = refused(
        "InvalidRequestException", client.create_secret, Name=secret, SecretString="a"
    )
    assert message == (
        "You can't create this secret because a secret with this name is already scheduled for "
        "deletion."
    ), message
    assert "DeletedDate" in client.describe_secret(SecretId=secret)
    filters = [{"Key": "name", "Values": [secret]}]
    assert client.list_secrets(Filters=filters)["SecretList"] == []
    listed = client.list_secrets(Filters=filters, IncludePlannedDeletion=True)["SecretList"]
    assert listed[0]["DeletedDate"]
    try:
        vault.secrets.kv.v2.read_secret_version(path=secret, raise_on_deleted_version=True)
        raise AssertionError("it can be read through the other door")
    except hvac.exceptions.InvalidPath:
        pass
    client.restore_secret(SecretId=secret)
    assert value(secret) == "first"
    assert "DeletedDate" not in client.describe_secret(SecretId=secret)
    client.restore_secret(SecretId=secret)
    # What is known about it may change meanwhile.
    client.delete_secret(SecretId=secret)
    vault.secrets.kv.v2.update_metadata(path=secret, custom_metadata={"a": "b"})
    refused("InvalidRequestException", client.get_secret_value, SecretId=secret)
    client.restore_secret(SecretId=secret)
    assert value(secret) == "first"
    # A write through the other door takes a deletion back, too.
    client.delete_secret(SecretId=secret)
    vault.secrets.kv.v2.create_or_update_secret(path=secret, secret={"value": "again"})
    assert value(secret) == "again"


def test_a_deletion_may_be_at_once():
    secret, made = make()
    client.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    refused("ResourceNotFoundException", client.describe_secret, SecretId=secret)
    client.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    refused("ResourceNotFoundException", client.delete_secret, SecretId=secret)
    again = client.create_secret(Name=secret, SecretString="new")
    assert again["ARN"] != made["ARN"], "an ARN is used again"
    refused("ResourceNotFoundException", client.get_secret_value, SecretId=made["ARN"])
    for days in [6, 31]:
        refused(
            "InvalidParameterException", client.delete_secret,
            SecretId=secret, RecoveryWindowInDays=days,
        )
    refused(
        "InvalidParameterException", client.delete_secret,
        SecretId=secret, RecoveryWindowInDays=7, ForceDeleteWithoutRecovery=True,
    )


def test_tags_and_descriptions_change():
    secret, _ = make()
    assert "Tags" not in client.describe_secret(SecretId=secret)
    client.tag_resource(SecretId=secret, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    client.tag_resource(SecretId=secret, Tags=[{"Key": "a", "Value": "2"}])
    tags = client.describe_secret(SecretId=secret)["Tags"]
    assert tags == [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}], tags
    client.untag_resource(SecretId=secret, TagKeys=["a", "b", "none"])
    assert client.describe_secret(SecretId=secret)["Tags"] == []
    refused(
        "InvalidParameterException", client.tag_resource,
        SecretId=secret, Tags=[{"Key": "aws:x", "Value": "1"}],
    )
    updated = client.update_secret(SecretId=secret, Description="new", KmsKeyId="alias/k")
    assert "VersionId" not in updated
    described = client.describe_secret(SecretId=secret)
    assert described["Description"] == "new" and described["KmsKeyId"] == "alias/k"
    many = [{"Key": str(number), "Value": "x"} for number in range(51)]
    refused("LimitExceededException", client.tag_resource, SecretId=secret, Tags=many)


def test_lists_have_filters_order_and_pages():
    mark = uuid.uuid4().hex
    names = [f"{mark}/{letter}" for letter in "bca"]
    for number, secret in enumerate(names):
        client.create_secret(
            Name=secret, SecretString="x",
            Description=f"{['Zero', 'One', 'Two'][number]} of {mark}",
            Tags=[{"Key": f"k{mark}", "Value": f"v{number}"}],
        )

    def found(*filters, **more):
        filters = [{"Key": key, "Values": values} for key, values in filters]
        listed = client.list_secrets(Filters=filters, **more)["SecretList"]
        return [secret["Name"] for secret in listed]

    assert found(("name", [mark])) == names
    assert found(("name", [mark]), SortOrder="desc") == names[::-1]
    assert found(("name", [mark]), SortBy="name") == sorted(names)
    assert found(("name", [names[0], names[2]])) == [names[0], names[2]]
    assert found(("name", [mark, "!" + names[1]])) == [names[0], names[2]]
    assert found(("name", [mark.upper()])) == []
    assert found(("description", ["one of", "nothing"]), ("name", [mark])) == [names[1]]
    assert found(("description", [mark]), ("tag-value", ["v2"])) == [names[2]]
    assert found(("tag-key", [f"k{mark}"])) == names
    assert found(("all", [mark])) == names
    assert found(("all", [f"{mark} of"])) == names
    assert found(("owning-service", ["x"])) == []
    assert found(("primary-region", ["eu"])) == []
    pages = client.get_paginator("list_secrets").paginate(
        Filters=[{"Key": "name", "Values": [mark]}], PaginationConfig={"PageSize": 2}
    )
    sizes = [len(page["SecretList"]) for page in pages]
    assert sizes == [2, 1], sizes
    refused("InvalidNextTokenException", client.list_secrets, NextToken="x")
    refused("ValidationException", loose.list_secrets, MaxResults=0)
    refused("ValidationException", loose.list_secrets, Filters=[{"Key": "x", "Values": ["a"]}])
    refused("InvalidParameterException", loose.list_secrets, Filters=[{"Key": "name", "Values": []}])
    every = client.batch_get_secret_value(Filters=[{"Key": "name", "Values": [mark]}], MaxResults=2)
    assert len(every["SecretValues"]) == 2 and every["NextToken"]
    rest = client.batch_get_secret_value(
        Filters=[{"Key": "name", "Values": [mark]}], NextToken=every["NextToken"]
    )
    assert [one["Name"] for one in every["SecretValues"] + rest["SecretValues"]] == sorted(names)


def test_lists_follow_every_change():
    mark = uuid.uuid4().hex

    def listed(**more):
        filters = [{"Key": "name", "Values": [mark]}]
        listed = client.list_secrets(Filters=filters, **more)["SecretList"]
        return {secret["Name"]: secret for secret in listed}

    assert listed() == {}
    secret = f"{mark}/a/b"
    first = client.create_secret(Name=secret, SecretString="x")["VersionId"]
    assert list(listed()) == [secret]
    second = client.put_secret_value(SecretId=secret, SecretString="y")["VersionId"]
    stages = {first: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}
    assert listed()[secret]["SecretVersionsToStages"] == stages
    client.update_secret(SecretId=secret, Description="AppBeta of COMPANYthings")
    for words, is_found in [
        ("beta", True), ("APP", True), ("ythings", True), ("compan", True), ("app of", True),
        ("things", False), ("eta", False), ("+", False), ("app none", False),
    ]:
        for key in ["description", "all"]:
            found = client.list_secrets(Filters=[
                {"Key": "name", "Values": [mark]}, {"Key": key, "Values": [words]}
            ])["SecretList"]
            assert bool(found) == is_found, (key, words)
    # Written through the other door, in a folder that was not there.
    vault.secrets.kv.v2.create_or_update_secret(path=f"{mark}/c/d", secret={"value": "z"})
    assert list(listed()) == [secret, f"{mark}/c/d"]
    assert list(listed(SortBy="name", SortOrder="desc")) == [f"{mark}/c/d", secret]
    client.delete_secret(SecretId=secret)
    assert list(listed()) == [f"{mark}/c/d"]
    assert list(listed(IncludePlannedDeletion=True)) == [secret, f"{mark}/c/d"]
    client.restore_secret(SecretId=secret)
    vault.secrets.kv.v2.delete_metadata_and_all_versions(path=f"{mark}/c/d")
    assert list(listed()) == [secret]
    client.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    assert listed() == {}
    message = refused("InvalidParameterException", loose.list_secrets,
                      Filters=[{"Key": "name", "Values": []}])
    assert message == "Invalid filter values for key: name", message


def test_many_values_are_read_at_once():
    secrets = [make()[0] for _ in range(20)]
    answer = client.batch_get_secret_value(SecretIdList=secrets[:19] + ["nothing"])
    assert [one["Name"] for one in answer["SecretValues"]] == secrets[:19]
    assert answer["Errors"] == [{
        "SecretId": "nothing", "ErrorCode": "ResourceNotFoundException",
        "Message": "Secrets Manager can't find the specified secret.",
    }], answer["Errors"]
    refused("InvalidParameterException", client.batch_get_secret_value)
    refused(
        "ValidationException", loose.batch_get_secret_value, SecretIdList=secrets + ["one more"]
    )


def test_passwords_are_drawn():
    def draw(**more):
        return client.get_random_password(**more)["RandomPassword"]

    assert len(draw()) == 32 and draw() != draw()
    assert len(draw(PasswordLength=4096)) == 4096
    assert draw(ExcludeLowercase=True, ExcludeUppercase=True, ExcludePunctuation=True).isdigit()
    plain = draw(PasswordLength=500, ExcludeCharacters="abcAB0'\"", IncludeSpace=True)
    assert not set(plain) & set("abcAB0'\"") and " " in plain
    refused("InvalidParameterException", client.get_random_password, PasswordLength=3)
    refused(
        "InvalidParameterException", client.get_random_password, ExcludeLowercase=True,
        ExcludeUppercase=True, ExcludeNumbers=True, ExcludePunctuation=True,
    )


def test_a_resource_policy_takes_away():
    secret, made = make(Tags=[{"Key": "team", "Value": "shop"}])

    def policy(**more):
        statement = {"Effect": "Deny", "Principal": "*", "Resource": "*", **more}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    assert "ResourcePolicy" not in client.get_resource_policy(SecretId=secret)
    text = policy(Action="secretsmanager:GetSecretValue")
    client.put_resource_policy(SecretId=secret, ResourcePolicy=text)
    assert client.get_resource_policy(SecretId=secret)["ResourcePolicy"] == text
    message = refused("AccessDeniedException", client.get_secret_value, SecretId=secret)
    assert "explicit deny in a resource-based policy" in message, message
    answer = client.batch_get_secret_value(SecretIdList=[secret])
    assert answer["Errors"][0]["ErrorCode"] == "AccessDeniedException", answer
    client.describe_secret(SecretId=secret)
    tagged = {"StringEquals": {"secretsmanager:ResourceTag/team": "web"}}
    client.put_resource_policy(
        SecretId=secret, ResourcePolicy=policy(Action="*", Condition=tagged)
    )
    assert value(secret) == "first"
    client.delete_resource_policy(SecretId=secret)
    assert "ResourcePolicy" not in client.get_resource_policy(SecretId=secret)
    public = policy(Effect="Allow", Action="secretsmanager:*")
    refused(
        "PublicPolicyException", client.put_resource_policy,
        SecretId=secret, ResourcePolicy=public, BlockPublicPolicy=True,
    )
    for bad in ["x", "{}", policy(Action="*", Condition={"Later": {"a": "b"}})]:
        refused(
            "MalformedPolicyDocumentException", client.put_resource_policy,
            SecretId=secret, ResourcePolicy=bad,
        )
    checked = client.validate_resource_policy(ResourcePolicy=public)
    assert checked["PolicyValidationPassed"] is False and checked["ValidationErrors"]
    checked = client.validate_resource_policy(ResourcePolicy=text, SecretId=secret)
    assert checked["PolicyValidationPassed"] is True


def test_a_secret_is_read_in_other_regions():
    secret, made = make(AddReplicaRegions=[{"Region": "us-east-1"}])
    assert made["ReplicationStatus"][0]["Status"] == "InSync", made
    other = boto3.client("secretsmanager", region_name="us-east-1", config=CONFIG)
    third = boto3.client("secretsmanager", region_name="us-west-2", config=CONFIG)
    read = other.get_secret_value(SecretId=secret)
    assert read["SecretString"] == "first" and ":us-east-1:" in read["ARN"]
    assert other.describe_secret(SecretId=secret)["PrimaryRegion"] == "eu-central-1"
    message = refused(
        "InvalidParameterException", other.put_secret_value, SecretId=secret, SecretString="x"
    )
    assert "replica" in message
    refused("ResourceNotFoundException", third.get_secret_value, SecretId=secret)
    added = client.replicate_secret_to_regions(
        SecretId=secret, AddReplicaRegions=[{"Region": "us-west-2"}]
    )
    assert added["ARN"] == made["ARN"] and len(added["ReplicationStatus"]) == 2
    assert third.get_secret_value(SecretId=secret)["SecretString"] == "first"
    message = refused("InvalidParameterException", client.delete_secret, SecretId=secret)
    assert message.endswith("[us-east-1, us-west-2]"), message
    refused(
        "InvalidParameterException", client.replicate_secret_to_regions,
        SecretId=secret, AddReplicaRegions=[{"Region": "eu-central-1"}],
    )
    client.remove_regions_from_replication(
        SecretId=secret, RemoveReplicaRegions=["us-east-1", "us-west-2"]
    )
    assert "ReplicationStatus" not in client.describe_secret(SecretId=secret)
    client.delete_secret(SecretId=secret)


def test_rotation_needs_a_function():
    secret, _ = make()
    message = refused("InvalidRequestException", client.rotate_secret, SecretId=secret)
    assert message == "No Lambda rotation function ARN is associated with this secret.", message
    refused(
        "AccessDeniedException", client.rotate_secret, SecretId=secret,
        RotationLambdaARN="arn:aws:lambda:eu-central-1:000000000000:function:x",
    )
    assert "RotationEnabled" not in client.describe_secret(SecretId=secret)
    refused("InvalidRequestException", client.cancel_rotate_secret, SecretId=secret)


def test_an_address_can_be_signed_in_advance():
    secret, _ = make()

    def ask(url, operation):
        headers = {
            "X-Amz-Target": f"secretsmanager.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
        }
        request = urllib.request.Request(url, data=b"", method="POST", headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    url = client.generate_presigned_url("get_secret_value", Params={"SecretId": secret})
    status, read = ask(url, "GetSecretValue")
    assert status == 200 and read["SecretString"] == "first", read
    status, read = ask(url, "DeleteSecret")
    assert read["__type"] == "InvalidSignatureException", read
    status, read = ask(url.replace(secret, "other"), "GetSecretValue")
    assert read["__type"] == "InvalidSignatureException", read


def test_what_is_not_there_is_told():
    for call, more in [
        (client.get_secret_value, {}), (client.describe_secret, {}),
        (client.put_secret_value, {"SecretString": "x"}),
        (client.update_secret, {"Description": "x"}), (client.delete_secret, {}),
        (client.restore_secret, {}), (client.list_secret_version_ids, {}),
        (client.rotate_secret, {}), (client.cancel_rotate_secret, {}),
        (client.tag_resource, {"Tags": []}), (client.untag_resource, {"TagKeys": ["x"]}),
        (client.get_resource_policy, {}), (client.delete_resource_policy, {}),
    ]:
        for missing in ["nothing", ARN + "nothing-Ab1dEf"]:
            message = refused("ResourceNotFoundException", call, SecretId=missing, **more)
            assert message == "Secrets Manager can't find the specified secret.", message


def main():
    tests = [item for item in globals().items() if item[0].startswith("test_")]
    failed = 0
    for title, test in tests:
        if sys.argv[1:] and not any(word in title for word in sys.argv[1:]):
            continue
        try:
            test()
        except Exception:
            failed += 1
            print("FAILED", title)
            traceback.print_exc(limit=-3)
    print(len(tests) - failed, "passed,", failed, "failed")
    sys.exit(1 if failed else 0)


main()
