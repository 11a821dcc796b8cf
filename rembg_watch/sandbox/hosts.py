"""
Which ``Host`` the sandbox answers to.

A web page can make a name of its own lead to 127.0.0.1 and then read and change whatever
answers there (DNS rebinding); the browser still says that name in ``Host``. No page of the
world has an address in its place, a name without a dot (a container's, a machine's of this
network) or a name of the vendor, whose documented requests are to work here as they stand.
"""

import ipaddress

_VENDOR = ("api.rembg.com", "www.rembg.com")


def is_answered(header: str, listens_on: str) -> bool:
    """
    Say whether a request with this ``Host`` is meant for the sandbox.

    Args:
        header: The header, with or without a port; empty where there was none, as no browser sends it.
        listens_on: The address that the sandbox was asked to listen on.
    """
    host = _without_port(header.strip().lower())
    asked = listens_on.lower().strip("[]")
    if host in {asked, *_VENDOR} or host.endswith(".localhost"):
        return True
    address = _address(host)
    if address is None:
        return "." not in host and ":" not in host
    return address.is_loopback or address == _address(asked) or _is_everywhere(asked)


def _without_port(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].rstrip(".")


def _is_everywhere(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
