"""Gives one of two secrets what only AWS's API knows: a resource policy and a replica."""

import json

import boto3

client = boto3.client("secretsmanager")
assert client.get_secret_value(SecretId="shop/guarded")["SecretString"] == "value-of-guarded"
denied = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "secretsmanager:DeleteSecret",
            "Resource": "*",
        }
    ],
}
client.put_resource_policy(SecretId="shop/guarded", ResourcePolicy=json.dumps(denied))
client.replicate_secret_to_regions(
    SecretId="shop/guarded", AddReplicaRegions=[{"Region": "us-east-1"}]
)
