"""A mail server: one line of settings on its input, its port on its output, mails in a file."""

import asyncio
import email
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

settings = json.loads(sys.stdin.readline())


def note(what):
    with open(settings["file"], "a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")


class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content)
        note({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "is_encrypted": session.ssl is not None or settings["mode"] == "tls",
            "user": session.auth_data.login.decode() if session.auth_data else None,
            "headers": [[name, str(value)] for name, value in mail.items()],
            "text": mail.get_payload(decode=True).decode(),
        })
        return "250 taken"


def check(server, session, envelope, mechanism, data):
    note({"login": data.login.decode()})
    is_right = [data.login.decode(), data.password.decode()] == settings["credentials"]
    return AuthResult(success=is_right, handled=False, auth_data=data)


async def main():
    context = None
    if settings["mode"] != "plain":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings["certificate"], settings["key"])
    is_starttls = settings["mode"] == "starttls"

    def protocol():
        return SMTP(
            Handler(),
            hostname="mail.test",
            tls_context=context if is_starttls else None,
            require_starttls=is_starttls,
            authenticator=check,
            auth_required=bool(settings["credentials"]),
            auth_require_tls=is_starttls,
        )

    server = await asyncio.get_running_loop().create_server(
        protocol,
        "127.0.0.1",
        settings["port"],
        ssl=context if settings["mode"] == "tls" else None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
