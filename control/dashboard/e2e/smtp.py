# A mail server for the tests: STARTTLS, one user. Prints its port, then a line of JSON for each mail.
import json, ssl, sys, time
from email import message_from_bytes, policy
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Keep:
    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.original_content, policy=policy.default)
        said = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "user": str(session.auth_data), "tls": session.ssl is not None,
                "subject": mail["subject"], "id": mail["message-id"], "references": mail["references"], "text": mail.get_content()}
        print(json.dumps(said), flush=True)
        return "250 kept for the test"


def login(server, session, envelope, mechanism, data):
    good = getattr(data, "login", b"") == b"holdfast" and getattr(data, "password", b"") == b"s3cret"
    # Not handled: the server itself answers with 235 or 535.
    return AuthResult(success=good, handled=False, auth_data="holdfast" if good else None)


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[1], sys.argv[2])
controller = Controller(Keep(), hostname="127.0.0.1", port=int(sys.argv[3]), tls_context=context, authenticator=login, auth_required=True)
controller.start()
print(json.dumps({"port": controller.port}), flush=True)
while True:
    time.sleep(60)
