"""The listening socket, and the refusal to listen to the world without keys."""

from __future__ import annotations

import ipaddress
import socket

from service.keys import KeyRing


class BindError(ValueError):
    """The address cannot or must not be listened on."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address; a name counts only if it is localhost."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, keys: KeyRing) -> None:
    """Raise BindError for an address that others can reach while there is no API key."""
    if not is_loopback(host) and not keys.keys:
        raise BindError(
            f"refusing to listen on {host} without an API key, because anyone could use the service; "
            "create one with `equimol keys create NAME`, or listen on 127.0.0.1"
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises BindError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise BindError(
            f"cannot listen on {host} port {port} ({error.strerror}); choose another with --port"
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """The address for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
