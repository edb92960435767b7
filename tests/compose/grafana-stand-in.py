"""Answers Grafana's health check where there is no Grafana. Shows nothing."""

from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    """Only GET /api/health."""

    def do_GET(self) -> None:
        """As Grafana does."""
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("0.0.0.0", 3000), Handler).serve_forever()
