#!/usr/bin/env python3
"""What the application answers when the gateway asks about an API key that it made itself: auth.py PORT

A real one looks the key up where /api/v1/auth/api-keys put it, and checks the signature of the question.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEYS = {"wf_live_ann_0123456789abcdef": "ann"}


class Auth(BaseHTTPRequestHandler):
    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["content-length"])))
        user = KEYS.get(question["credential"])
        answer = json.dumps({"sub": user, "claims": {}} if user else {}).encode()
        self.send_response(200 if user else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        print(f"{question['place']}: {user or 'refused'}", flush=True)

    def log_message(self, *_):
        """Requests are logged above, without the key."""


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Auth).serve_forever()
