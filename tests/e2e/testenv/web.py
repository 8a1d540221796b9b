"""A web server that answers what the test says and keeps what it was sent."""
import http.server
import threading


class Web:
    """On loopback, in a thread; `answer` is (status, content type, body)."""

    def __init__(self):
        self.answer = (200, "application/json", b"{}")
        self.seen = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                length = int(self.headers.get("Content-Length", 0))
                # The request line as it came: nothing is decoded.
                web.seen.append((self.requestline, dict(self.headers),
                                 self.rfile.read(length)))
                status, kind, body = web.answer
                self.send_response(status)
                if kind:
                    self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # Clients may go before they have read everything.
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
