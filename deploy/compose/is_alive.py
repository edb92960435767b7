"""The health check of the application's container: whether the process answers, whatever the database does."""

import urllib.request

if __name__ == "__main__":
    # Past any proxy of the environment: this is a question to the container itself.
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://127.0.0.1:8000/healthz", timeout=2)
