"""AWS's command line, unmodified, against the server: the verbs that scripts use."""

import contextlib
import io
import json
import os
import tempfile

import awscli.clidriver


def aws(*words, code=0):
    """Runs a command; what it printed, as JSON where it is. All run in one process: most of the
    time of one alone is its start."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = awscli.clidriver.create_clidriver().main([*words, "--output", "json"])
    assert status == code, (words, status, out.getvalue(), err.getvalue())
    if code:
        return err.getvalue()
    return json.loads(out.getvalue()) if out.getvalue().strip() else None


def secrets(*words, code=0):
    return aws("secretsmanager", *words, code=code)


def main():
    who = aws("sts", "get-caller-identity")
    assert who["Account"] == "000000000000", who
    role = "arn:aws:iam::000000000000:role/default"
    session = aws("sts", "assume-role", "--role-arn", role, "--role-session-name", "cli")
    assert session["Credentials"]["SessionToken"], session
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "text")
        with open(text, "w", encoding="utf-8") as file:
            file.write('{"user": "ü",\n "password": "p\\"q"}')
        binary = os.path.join(folder, "binary")
        with open(binary, "wb") as file:
            file.write(bytes(range(256)))
        made = secrets(
            "create-secret", "--name", "cli/app", "--description", "made by the cli",
            "--secret-string", f"file://{text}", "--tags", "Key=team,Value=shop",
        )
        read = secrets("get-secret-value", "--secret-id", made["ARN"])
        with open(text, encoding="utf-8") as file:
            assert read["SecretString"] == file.read(), read
        secrets(
            "put-secret-value", "--secret-id", "cli/app", "--secret-binary", f"fileb://{binary}"
        )
        read = secrets("get-secret-value", "--secret-id", "cli/app")
        assert "SecretString" not in read and read["SecretBinary"].startswith("AAECAwQF"), read
    read = secrets(
        "get-secret-value", "--secret-id", "cli/app", "--version-stage", "AWSPREVIOUS",
        "--query", "Name",
    )
    assert read == "cli/app", read
    described = secrets("describe-secret", "--secret-id", "cli/app")
    assert described["Tags"] == [{"Key": "team", "Value": "shop"}], described
    listed = secrets("list-secrets", "--filters", "Key=name,Values=cli/")
    assert [secret["Name"] for secret in listed["SecretList"]] == ["cli/app"], listed
    batch = secrets("batch-get-secret-value", "--secret-id-list", "cli/app", "cli/none")
    assert len(batch["SecretValues"]) == 1 and len(batch["Errors"]) == 1, batch
    password = secrets("get-random-password", "--password-length", "20", "--exclude-punctuation")
    assert len(password["RandomPassword"]) == 20
    secrets("tag-resource", "--secret-id", "cli/app", "--tags", "Key=a,Value=b")
    secrets("update-secret", "--secret-id", "cli/app", "--description", "changed")
    versions = secrets("list-secret-version-ids", "--secret-id", "cli/app")["Versions"]
    current, previous = sorted(versions, key=lambda version: version["VersionStages"])
    secrets(
        "update-secret-version-stage", "--secret-id", "cli/app", "--version-stage", "AWSCURRENT",
        "--move-to-version-id", previous["VersionId"],
        "--remove-from-version-id", current["VersionId"],
    )
    read = secrets("get-secret-value", "--secret-id", "cli/app")
    assert read["VersionId"] == previous["VersionId"], read
    secrets("delete-secret", "--secret-id", "cli/app", "--recovery-window-in-days", "7")
    error = secrets("get-secret-value", "--secret-id", "cli/app", code=255)
    assert "InvalidRequestException" in error and "marked for deletion" in error, error
    secrets("restore-secret", "--secret-id", "cli/app")
    secrets("delete-secret", "--secret-id", "cli/app", "--force-delete-without-recovery")
    error = secrets("get-secret-value", "--secret-id", "cli/app", code=255)
    assert "ResourceNotFoundException" in error, error
    os.environ["AWS_SECRET_ACCESS_KEY"] = "x" * 40
    error = secrets("list-secrets", code=255)
    assert "InvalidSignatureException" in error, error
    os.environ["AWS_ACCESS_KEY_ID"] = "AKIAAAAAAAAAAAAAAAAA"
    error = secrets("list-secrets", code=255)
    assert "InvalidClientTokenId" in error, error
    print("passed")


main()
