"""A connection to a service, with everything that is decided about connections: TLS, retries, balance, keepalive."""

import json
from typing import Any

import grpc

from maquette.rpc.credentials import channel_credentials
from maquette.rpc.settings import ClientSettings


def open_channel(settings: ClientSettings) -> grpc.aio.Channel:
    """A channel; one is enough for all calls to a target, and connects when it is first used.

    Raises:
        OptionInvalid: A certificate cannot be read.
    """
    credentials = channel_credentials(settings)
    options = channel_options(settings)
    if credentials is None:
        return grpc.aio.insecure_channel(settings.target, options=options)
    return grpc.aio.secure_channel(settings.target, credentials, options=options)


def service_config(settings: ClientSettings, *, health: bool = True) -> dict[str, Any]:
    """The gRPC service config (grpc/service-config): retries on UNAVAILABLE only, all addresses in turn.

    Addresses whose health service says NOT_SERVING get no calls: that is how a server drains without losing any.
    """
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if health:
        config["healthCheckConfig"] = {"serviceName": ""}
    if settings.max_attempts > 1:
        retry = {
            "maxAttempts": settings.max_attempts,
            "initialBackoff": "0.2s",
            "maxBackoff": "3s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config["methodConfig"] = [{"name": [{}], "retryPolicy": retry}]
    return config


def channel_options(settings: ClientSettings, *, health: bool = True) -> list[tuple[str, Any]]:
    """GRPC core's channel arguments.

    Args:
        settings: What is set of the connection.
        health: Whether the server's health can be watched, so that addresses that do not serve get no calls.
    """
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(service_config(settings, health=health))),
        # What a name's owner publishes must not replace the above.
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.enable_retries", int(settings.max_attempts > 1)),
        # A call larger than this buffer is sent once only.
        ("grpc.per_rpc_retry_buffer_size", settings.max_message_bytes),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", round(settings.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", round(settings.keepalive_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A server that comes back is found again within seconds, not minutes.
        ("grpc.max_reconnect_backoff_ms", 5000),
    ]
    if settings.tls_server_name is not None:
        options.append(("grpc.ssl_target_name_override", settings.tls_server_name))
    return options
