"""Connections: what uvicorn does not bound, handshakes, and the certificate."""
