"""A rotation function as AWS Lambda runs it: `lambda_handler` in four steps.

The secret is a JSON object with `username` and `password`. Each step may be called again with the
same token, and then changes nothing that was done before. Values are never printed.
"""

import json

import boto3
from botocore.exceptions import ClientError

import service


def lambda_handler(event, context):
    arn, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    client = boto3.client("secretsmanager")
    about = client.describe_secret(SecretId=arn)
    if not about.get("RotationEnabled"):
        raise ValueError("the secret is not set up to be rotated")
    stages = about["VersionIdsToStages"].get(token)
    if stages is None:
        raise ValueError("the version has no stage: it is not of this rotation")
    if "AWSCURRENT" in stages:
        return  # Finished before.
    if "AWSPENDING" not in stages:
        raise ValueError("the version is not pending")
    STEPS[step](client, arn, token, about)


def value(client, arn, stage, token=None):
    which = {"VersionStage": stage}
    if token is not None:
        which["VersionId"] = token
    return json.loads(client.get_secret_value(SecretId=arn, **which)["SecretString"])


def create_secret(client, arn, token, about):
    try:
        value(client, arn, "AWSPENDING", token)
        return  # Made before: the same one goes on.
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
    new = value(client, arn, "AWSCURRENT")
    drawn = client.get_random_password(PasswordLength=32, ExcludePunctuation=True)
    new["password"] = drawn["RandomPassword"]
    client.put_secret_value(
        SecretId=arn,
        ClientRequestToken=token,
        SecretString=json.dumps(new),
        VersionStages=["AWSPENDING"],
    )


def set_secret(client, arn, token, about):
    pending = value(client, arn, "AWSPENDING", token)
    if service.accepts(pending["username"], pending["password"]):
        return  # Set before.
    current = value(client, arn, "AWSCURRENT")
    if current["username"] != pending["username"]:
        raise ValueError("the new version is of another user")
    if not service.accepts(current["username"], current["password"]):
        raise ValueError("the service does not accept the current password")
    service.set_password(pending["username"], current["password"], pending["password"])


def test_secret(client, arn, token, about):
    pending = value(client, arn, "AWSPENDING", token)
    if not service.accepts(pending["username"], pending["password"]):
        raise ValueError("the service does not accept the new password")


def finish_secret(client, arn, token, about):
    # The event does not say which version was the current one: the stages do.
    current = [
        version
        for version, stages in about["VersionIdsToStages"].items()
        if "AWSCURRENT" in stages
    ]
    client.update_secret_version_stage(
        SecretId=arn,
        VersionStage="AWSCURRENT",
        MoveToVersionId=token,
        RemoveFromVersionId=current[0],
    )


STEPS = {
    "createSecret": create_secret,
    "setSecret": set_secret,
    "testSecret": test_secret,
    "finishSecret": finish_secret,
}
