"""A throw-away authority and a server certificate, by openssl(1)."""
import ipaddress
import os
import subprocess

DAYS = "30"


def openssl(*arguments):
    subprocess.run(
        ["openssl", *arguments], check=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )


def alternative_names(names):
    """The subjectAltName value for host names and addresses."""
    entries = []
    for name in names:
        try:
            entries.append(f"IP:{ipaddress.ip_address(name)}")
        except ValueError:
            entries.append(f"DNS:{name}")
    return ",".join(entries)


def make(folder, names):
    """Writes ca.pem, server.pem and server.key; returns their paths."""
    ca, ca_key, server, server_key = (
        os.path.join(folder, name)
        for name in ("ca.pem", "ca.key", "server.pem", "server.key")
    )
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(
        "req", "-x509", *key, "-keyout", ca_key, "-out", ca, "-days", DAYS,
        "-subj", "/CN=stand-in authority",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )
    openssl(
        "req", "-x509", *key, "-keyout", server_key, "-out", server,
        "-days", DAYS, "-subj", "/CN=stand-in", "-CA", ca, "-CAkey", ca_key,
        "-addext", "subjectAltName=" + alternative_names(names),
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "extendedKeyUsage=serverAuth",
    )
    return ca, server, server_key
