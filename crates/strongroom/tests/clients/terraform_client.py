"""Terraform with AWS's provider, unmodified: init, plan, apply, a second plan without changes, a
change, and destroy, of a secret with a version and a policy.

Neither comes from a package registry. TERRAFORM_PLUGINS names a folder of providers; without it
terraform fetches the provider itself. Without terraform this says that it was skipped.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import boto3
import botocore.exceptions

TERRAFORM = shutil.which("terraform")
PLUGINS = os.environ.get("TERRAFORM_PLUGINS")
CONFIG = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region                      = "eu-central-1"
  skip_metadata_api_check     = true
  skip_requesting_account_id  = false
  skip_region_validation      = true
  endpoints {
    secretsmanager = "SERVER"
    sts            = "SERVER"
    iam            = "SERVER"
  }
}

resource "aws_secretsmanager_secret" "own" {
  name                    = "terraform/own"
  description             = "DESCRIPTION"
  recovery_window_in_days = 0
  tags = {
    team = "shop"
  }
}

resource "aws_secretsmanager_secret_version" "own" {
  secret_id     = aws_secretsmanager_secret.own.id
  secret_string = jsonencode({ user = "u", password = "PASSWORD" })
}

resource "aws_secretsmanager_secret_policy" "own" {
  secret_arn = aws_secretsmanager_secret.own.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "NobodyElse"
      Effect    = "Deny"
      Principal = { AWS = "arn:aws:iam::000000000000:user/nobody" }
      Action    = "secretsmanager:GetSecretValue"
      Resource  = "*"
    }]
  })
}

data "aws_secretsmanager_secret_version" "read" {
  secret_id  = aws_secretsmanager_secret.own.id
  depends_on = [aws_secretsmanager_secret_version.own]
}

output "same" {
  value = nonsensitive(
    data.aws_secretsmanager_secret_version.read.secret_string
    == aws_secretsmanager_secret_version.own.secret_string
  )
}
"""


def terraform(folder, *words, codes=(0,)):
    environment = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    environment.pop("TF_CLI_CONFIG_FILE", None)
    done = subprocess.run(
        [TERRAFORM, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode not in codes:
        sys.exit(f"terraform {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def write(folder, description, password):
    text = CONFIG.replace("SERVER", os.environ["SERVER"])
    text = text.replace("DESCRIPTION", description).replace("PASSWORD", password)
    with open(os.path.join(folder, "main.tf"), "w", encoding="utf-8") as file:
        file.write(text)


def main():
    if TERRAFORM is None:
        print("SKIPPED: there is no terraform here")
        return
    client = boto3.client("secretsmanager")
    with tempfile.TemporaryDirectory() as folder:
        write(folder, "made by terraform", "first")
        plugins = [f"-plugin-dir={PLUGINS}"] if PLUGINS else []
        terraform(folder, "init", "-input=false", "-no-color", *plugins)
        planned = terraform(folder, "plan", "-input=false", "-no-color", "-detailed-exitcode",
                            codes=(2,))
        assert "3 to add" in planned.stdout, planned.stdout
        apply = ["apply", "-input=false", "-no-color", "-auto-approve"]
        terraform(folder, *apply)
        same = json.loads(terraform(folder, "output", "-json").stdout)["same"]["value"]
        assert same is True
        value = client.get_secret_value(SecretId="terraform/own")
        assert json.loads(value["SecretString"]) == {"user": "u", "password": "first"}
        policy = client.get_resource_policy(SecretId="terraform/own")["ResourcePolicy"]
        assert json.loads(policy)["Statement"][0]["Sid"] == "NobodyElse"
        # Nothing is left to do: exit code 0, and not 2.
        terraform(folder, "plan", "-input=false", "-no-color", "-detailed-exitcode")
        write(folder, "changed by terraform", "second")
        terraform(folder, *apply)
        terraform(folder, "plan", "-input=false", "-no-color", "-detailed-exitcode")
        described = client.describe_secret(SecretId="terraform/own")
        assert described["Description"] == "changed by terraform", described
        value = client.get_secret_value(SecretId="terraform/own")
        assert json.loads(value["SecretString"])["password"] == "second"
        terraform(folder, "destroy", "-input=false", "-no-color", "-auto-approve")
        try:
            client.describe_secret(SecretId="terraform/own")
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "ResourceNotFoundException", error
        else:
            sys.exit("the secret is still there")
    print("terraform: init, plan, apply, plan, change, destroy")


main()
