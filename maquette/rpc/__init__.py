"""How the rooms' services are served and called over gRPC; the services themselves know nothing of it.

``server`` starts one, ``remote`` calls one; ``work`` and ``deadline``, which need no gRPC, are for the services.
"""
