"""How the bridge fares: documents, metrics, systemd."""
