"""Messages and stubs of the contracts in ``protos/maquette/v1``; all other files are generated (``make protos``)."""
