"""The gateway: Maquette over HTTP, its jobs and its API keys."""
