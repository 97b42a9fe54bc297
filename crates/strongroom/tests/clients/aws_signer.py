"""Our reading of signatures beside botocore's writing of them: odd headers, queries and bodies,
signed in the header and in the address, are accepted as they are and refused when one thing of
them is changed. Only the session's own requests are sent, so that nothing is changed by it.
"""

import http.client
import os
import random
import sys
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials

SERVER = urllib.parse.urlsplit(os.environ["SERVER"])
KEY = botocore.credentials.ReadOnlyCredentials(
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], None
)
ROUNDS = 300
SERVICES = {
    "sts": "Action=GetCallerIdentity&Version=2011-06-15",
    "secretsmanager": "{}",
}


def ask(request):
    """Sends a request as it is; the status and the body of the answer."""
    connection = http.client.HTTPConnection(SERVER.hostname, SERVER.port, timeout=60)
    parts = urllib.parse.urlsplit(request.url)
    target = parts.path + ("?" + parts.query if parts.query else "")
    connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
    headers = list(request.headers.items())
    if not any(name.lower() == "host" for name, _ in headers):
        connection.putheader("Host", SERVER.netloc)
    for name, value in headers:
        connection.putheader(name, value)
    body = request.data if isinstance(request.data, bytes) else (request.data or "").encode()
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def is_accepted(answer):
    status, text = answer
    # What comes after the signature may be refused for other reasons.
    refusals = ["Signature", "MissingAuthenticationToken", "InvalidClientTokenId"]
    return status != 413 and not any(word in text for word in refusals)


def word(draw, letters, longest):
    return "".join(draw.choice(letters) for _ in range(draw.randint(1, longest)))


def unsigned(draw, service):
    """A request that differs from any other."""
    query = []
    for _ in range(draw.randint(0, 4)):
        name = word(draw, "abcXYZ019-_.~ é/+&=", 6)
        query.append((name, word(draw, "abc 0/+=&%~é漢", 8) if draw.random() < 0.8 else ""))
    if draw.random() < 0.3 and query:
        query.append((query[0][0], "again"))
    encoded = urllib.parse.urlencode(query, quote_via=urllib.parse.quote, safe="~")
    headers = {"X-Amz-Target": "secretsmanager.Nothing"} if service == "secretsmanager" else {}
    headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    if service == "secretsmanager":
        headers["Content-Type"] = "application/x-amz-json-1.1"
    for _ in range(draw.randint(0, 3)):
        value = word(draw, "ab 0,;=\"'/", 12).strip() or "x"
        headers["X-" + word(draw, "abcXYZ019-", 6).strip("-") + "q"] = value
    return botocore.awsrequest.AWSRequest(
        method="POST",
        url=f"{SERVER.scheme}://{SERVER.netloc}/" + ("?" + encoded if encoded else ""),
        data=SERVICES[service],
        headers=headers,
    )


def changed(draw, request):
    """Changes one thing that was signed."""
    way = draw.choice(["body", "header", "query", "method", "signature"])
    url = urllib.parse.urlsplit(request.url)
    if way == "body":
        request.data = (request.data or "") + " "
    elif way == "header":
        request.headers["X-Amz-Added"] = "1"
    elif way == "query":
        query = (url.query + "&" if url.query else "") + "added=1"
        request.url = urllib.parse.urlunsplit(url._replace(query=query))
    elif way == "method":
        request.method = "PUT" if "X-Amz-Algorithm" not in url.query else "GET"
        if request.method == "PUT":
            # Another method is not for this door at all: the change is made in the date.
            request.method = "POST"
            stamp = request.headers["X-Amz-Date"]
            last = str((int(stamp[-2]) + 1) % 10)
            del request.headers["X-Amz-Date"]
            request.headers["X-Amz-Date"] = stamp[:-2] + last + "Z"
    else:
        if "Authorization" in request.headers:
            text = request.headers["Authorization"]
            del request.headers["Authorization"]
            last = "0" if text[-1] != "0" else "1"
            request.headers["Authorization"] = text[:-1] + last
        else:
            last = "0" if request.url[-1] != "0" else "1"
            request.url = request.url[:-1] + last
    return way


def main():
    seed = int(os.environ.get("SEED", "20261128"))
    draw = random.Random(seed)
    counts = {"accepted": 0, "refused": 0}
    for number in range(ROUNDS):
        service = draw.choice(list(SERVICES))
        region = draw.choice(["us-east-1", "eu-central-1", "us-gov-west-1"])
        request = unsigned(draw, service)
        if draw.random() < 0.6:
            botocore.auth.SigV4Auth(KEY, service, region).add_auth(request)
        else:
            # In an address everything stands in the query, what would be the body as well.
            if service == "sts":
                request.data = dict(urllib.parse.parse_qsl(request.data))
            expires = draw.randint(1, 604800)
            signer = botocore.auth.SigV4QueryAuth(KEY, service, region, expires=expires)
            signer.add_auth(request)
        answer = ask(request)
        if not is_accepted(answer):
            sys.exit(f"seed {seed}, request {number}: {request.url} {request.headers}: {answer}")
        counts["accepted"] += 1
        way = changed(draw, request)
        answer = ask(request)
        if is_accepted(answer):
            sys.exit(f"seed {seed}, request {number}, {way}: accepted {request.url}: {answer}")
        counts["refused"] += 1
    print(counts)


main()
