"""Runs a rotation function of AWS Lambda behind an HTTP endpoint that Strongroom calls.

    python shim.py 9000

The signing key that `strongroom rotate rotators add` printed lies in the file that
STRONGROOM_SIGNING_KEY_FILE names.
"""

import hashlib
import hmac
import http.server
import json
import os
import sys
import time
import traceback

BODY_BYTES_MAX = 64 * 1024
SKEW_SECONDS = 300


def signing_key():
    with open(os.environ["STRONGROOM_SIGNING_KEY_FILE"]) as file:
        return file.read().strip().encode()


def is_signed(headers, body):
    """Whether the request is Strongroom's, and of now: `v1=` HMAC-SHA256 of `TIMESTAMP.BODY`."""
    stamp = headers.get("X-Strongroom-Timestamp", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > SKEW_SECONDS:
        return False
    code = hmac.new(signing_key(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    sent = headers.get("X-Strongroom-Signature", "")
    return hmac.compare_digest(sent.encode(), b"v1=" + code.encode())


def serve(port, handler):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 < length <= BODY_BYTES_MAX:
                return self.answer(413, {})
            body = self.rfile.read(length)
            if not is_signed(self.headers, body):
                return self.answer(403, {"errorMessage": "the signature does not fit"})
            try:
                handler(json.loads(body), None)
            except Exception as error:
                traceback.print_exc()  # Stays here: the answer names the kind of error only.
                return self.answer(500, {"errorType": type(error).__name__})
            self.answer(200, {})

        def answer(self, status, data):
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    # Only for this machine: across a network put it behind something that does TLS.
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    import rotate

    serve(int(sys.argv[1]), rotate.lambda_handler).serve_forever()
